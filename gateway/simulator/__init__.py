"""A hostile Asterisk behind a real AMI socket, and the campaign that sets it on the gateway."""
