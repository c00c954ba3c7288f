"""No action says anything but what was asked for."""

import pytest

from gateway.ami import AmiEncodingError, actions
from gateway.ami.actions import Action
from tests.ami.conftest import Linked


@pytest.mark.parametrize("character", ["\r", "\n", "\r\n", "\0"])
def test_a_value_with_a_line_break_is_refused(character: str) -> None:
    """It would begin a header or a whole action of its own; Asterisk takes a bare line feed too."""
    with pytest.raises(AmiEncodingError, match="Exten"):
        Action(name="Redirect", action_id="1", headers=(("Exten", f"s{character}Action: X"),))


@pytest.mark.parametrize("key", ["", "Exten\r\nX", "Ex ten", "Exten:", "Exten\n"])
def test_a_key_of_other_than_letters_is_refused(key: str) -> None:
    """A key is written as it is, so it can break a line just as a value can."""
    with pytest.raises(AmiEncodingError):
        Action(name="Redirect", action_id="1", headers=((key, "s"),))


def test_the_action_id_is_checked_too() -> None:
    """It comes from a caller like every value, and it is what answers are told apart by."""
    with pytest.raises(AmiEncodingError):
        Action(name="Ping", action_id="1\r\nAction: Logoff")
    with pytest.raises(AmiEncodingError):
        Action(name="Ping", action_id="")


def test_a_line_is_as_long_as_asterisk_reads_and_no_longer() -> None:
    """Asterisk gives up on the message at a longer line. Bytes count, not characters."""
    Action(name="X", action_id="1", headers=(("Key", "é" * 497),))

    with pytest.raises(AmiEncodingError, match="longer"):
        Action(name="X", action_id="1", headers=(("Key", "é" * 498),))


def test_an_action_has_as_many_headers_as_asterisk_reads_and_no_more() -> None:
    """Asterisk answers longer ones without the ActionID, an answer that nobody could match."""
    Action(name="X", action_id="1", headers=(("Key", "v"),) * 98)

    with pytest.raises(AmiEncodingError, match="headers"):
        Action(name="X", action_id="1", headers=(("Key", "v"),) * 99)


def test_text_that_has_no_bytes_is_refused() -> None:
    """Half a surrogate pair must fail as every other bad value does."""
    with pytest.raises(AmiEncodingError, match="not text"):
        Action(name="X", action_id="1", headers=(("Key", "\ud800"),))


@pytest.mark.parametrize("value", ["a,b=c", "a b", "${SHELL(id)}", "a;b", "é", "a\n", 'a"', "a&b"])
def test_a_variable_takes_safe_characters_only(value: str) -> None:
    """Asterisk itself splits the header at commas and evaluates `${}`."""
    with pytest.raises(AmiEncodingError):
        actions.set_variable("1", "NAME", value, channel="PJSIP/a-1")


@pytest.mark.parametrize("name", ["", "1A", "A=B", "A,B", "GLOBAL(A)", "A\n"])
def test_a_variable_s_name_is_a_name(name: str) -> None:
    """A name with parentheses is a function, which may do anything."""
    with pytest.raises(AmiEncodingError):
        actions.set_variable("1", name, "1", channel=None)


@pytest.mark.parametrize("leg", ["", "a,b", "pbx-1.2,o", "${X}", "PJSIP/a-1", "a b"])
def test_a_whisper_goes_to_one_leg(leg: str) -> None:
    """The leg is an argument of an application, where a comma begins its options."""
    with pytest.raises(AmiEncodingError, match="uniqueid"):
        actions.whisper(
            "1",
            leg=leg,
            channel="Local/s@dialout-warning/n",
            variables={},
            timeout_ms=1000,
            channel_id="a",
            other_channel_id="b",
        )


@pytest.mark.parametrize("name", ["", "A)", "A,B", "SHELL(id)"])
def test_only_a_plain_variable_is_read(name: str) -> None:
    """A function's name would run the function on the channel."""
    with pytest.raises(AmiEncodingError):
        actions.get_variable("1", name, channel="pbx-1.2")


@pytest.mark.parametrize("channel", ["", " ", "/.*/", " /.*/"])
def test_a_channel_is_one_channel(channel: str) -> None:
    """An empty one makes the variable global, a pattern hangs up every channel that it matches."""
    with pytest.raises(AmiEncodingError, match="Channel"):
        actions.set_variable("1", "NAME", "1", channel=channel)
    with pytest.raises(AmiEncodingError, match="Channel"):
        actions.hangup("1", channel=channel, cause=16)


@pytest.mark.parametrize("milliseconds", [0, -1])
def test_a_limit_is_a_limit(milliseconds: int) -> None:
    """Asterisk takes a zero for no limit at all, and a call without one costs without end."""
    with pytest.raises(AmiEncodingError, match="Timeout"):
        actions.limit("1", channel="asterisk-1.2", milliseconds=milliseconds)


@pytest.mark.parametrize("key", ["", "a)", "a,b", "/a", "a/", "a//b", "${X}"])
def test_a_record_s_key_is_a_path(key: str) -> None:
    """The key is written between the parentheses of a dialplan function."""
    with pytest.raises(AmiEncodingError, match="Key"):
        actions.delete_record("1", "dialout/ended", key)


def test_the_secret_is_in_no_message() -> None:
    """Errors and reprs end in logs."""
    assert "hush" not in repr(actions.login("1", username="gateway", secret="hush"))
    with pytest.raises(AmiEncodingError) as caught:
        actions.login("1", username="gateway", secret="hush\n")

    assert "hush" not in str(caught.value)


async def test_an_unsafe_action_reaches_no_wire(linked: Linked) -> None:
    """It raises before the first byte is written."""
    with pytest.raises(AmiEncodingError):
        await linked.client.set_and_redirect(
            channel="PJSIP/a-1",
            variable="DIALOUT_VERDICT",
            value="allow",
            context="dialout-release",
            extension="s\r\n\r\nAction: Originate",
            action_id="1",
        )
    await linked.client.close()

    assert await linked.session.rest() == b""
