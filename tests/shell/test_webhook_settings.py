"""Settings of webhooks: where events may be sent, and what signs them."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.outbox import Receiver
from gateway.settings import WebhookSettings

SECRET = "whsec_c2VjcmV0LW9mLXRoZS10ZXN0cy0tbmV3LS0t"
OLD_SECRET = "whsec_c2VjcmV0LW9mLXRoZS10ZXN0cy0tb2xkLS0t"
URL = "https://pay.example/hooks"


def settings(**values: object) -> WebhookSettings:
    """Read the section."""
    return WebhookSettings.model_validate({"url": URL, "secret": SECRET} | values)


@pytest.mark.parametrize(
    "url",
    [
        URL,
        "https://pay.example:8443/hooks?token=abc",
        "http://127.0.0.1:9000/hooks",
        "http://127.9.9.9/hooks",
        "http://[::1]:9000/hooks",
        "http://localhost/hooks",
    ],
)
def test_it_goes_by_tls_or_stays_on_this_machine(url: str) -> None:
    """What is told is the business of the tenants, and of nobody on the way."""
    assert str(settings(url=url).url) == url


@pytest.mark.parametrize(
    "url",
    [
        "http://pay.example/hooks",
        "http://10.0.0.5/hooks",
        "http://localhost.pay.example/hooks",
        "http://127.0.0.1.pay.example/hooks",
        "http://[::2]/hooks",
        "https://user:password@pay.example/hooks",
        "https://user@pay.example/hooks",
        "ftp://pay.example/hooks",
        "pay.example/hooks",
        "https://xn--n3h.invalid/",
        "https://pay.example/" + "x" * 70_000,
        "",
    ],
)
def test_everything_else_is_refused(url: str) -> None:
    """In clear to another machine, with a password in it, or no address that HTTP knows."""
    with pytest.raises(ValidationError):
        settings(url=url)


@pytest.mark.parametrize(
    "secret",
    [
        SECRET.removeprefix("whsec_"),
        "whsec_",
        "whsec_c2hvcnQ=",
        "whsec_not base64 at all, but long enough",
        "whsec_" + "QUJD" * 22,
    ],
)
def test_a_weak_secret_is_refused(secret: str) -> None:
    """Under 24 bytes it could be guessed; the library would take the others in silence."""
    with pytest.raises(ValidationError, match="whsec_ and 24 to 64 bytes"):
        settings(secret=secret)
    with pytest.raises(ValidationError, match="whsec_ and 24 to 64 bytes"):
        settings(old_secret=secret)


def test_only_the_host_of_an_address_is_shown() -> None:
    """A path or a query may hold a token."""
    found = settings(url="https://pay.example:8443/hooks-of-ours?token=abc")

    assert found.model_dump(mode="json")["url"] == "https://pay.example"
    assert "abc" not in repr(found)
    assert "hooks-of-ours" not in repr(found)


def test_an_address_needs_a_secret() -> None:
    """Unsigned events would be believed from anybody."""
    with pytest.raises(ValidationError, match="secret or secret_file"):
        settings(secret=None)


def test_nothing_is_set_where_nobody_is_told() -> None:
    """Events are kept then, and read by whoever asks for them."""
    assert Receiver.of(WebhookSettings()) is None


def test_secrets_come_from_files_and_the_new_one_is_first(tmp_path: Path) -> None:
    """While one is replaced, both sign; neither is shown."""
    (tmp_path / "new").write_text(SECRET + "\n")
    (tmp_path / "old").write_text(OLD_SECRET + "\n")
    found = settings(secret=None, secret_file=tmp_path / "new", old_secret_file=tmp_path / "old")

    receiver = Receiver.of(found)

    assert found.secret_texts() == (SECRET, OLD_SECRET)
    assert receiver is not None
    assert (receiver.url, len(receiver.signers)) == (URL, 2)
    assert SECRET.removeprefix("whsec_") not in repr((found, settings(), receiver))
