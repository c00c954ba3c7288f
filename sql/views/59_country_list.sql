-- The countries that are known by name.
CREATE OR REPLACE VIEW dialout.country_list AS
SELECT
    c.region,
    c.name
FROM dialout.country AS c;
