"""What an AMI action can end in beside an answer.

    AmiError
    ├── AmiEncodingError   the action cannot be written safely; a ValueError too
    ├── AmiUnavailable     no usable link; `unknown` says whether the action had been written before
    ├── AmiTimeout         written, and not answered in time
    ├── AmiRefused         answered: no
    └── AmiLoginRefused    the account is not let in; ends `AmiClient.run`

Whoever retries must first look at `unknown`: an action of unknown fate may have been carried out,
and nothing in this package ever sends an action twice.
"""


class AmiError(Exception):
    """An AMI action did not end in an answer that can be used."""

    unknown: bool = False
    """Whether Asterisk may have carried the action out all the same."""


class AmiEncodingError(AmiError, ValueError):
    """An action cannot be written without meaning something else; nothing was written.

    The message names the header and never its value, which may be a secret.
    """


class AmiUnavailable(AmiError):
    """There is no usable link to Asterisk."""

    def __init__(self, message: str, *, unknown: bool) -> None:
        super().__init__(message)
        self.unknown = unknown


class AmiTimeout(AmiError):
    """Asterisk did not answer an action in time. It may have been carried out, or still be."""

    unknown = True


class AmiRefused(AmiError):
    """Asterisk answered that it did not do what was asked, or did not finish a list."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class AmiLoginRefused(AmiError):
    """Asterisk does not let this account in, and trying again would not change that."""
