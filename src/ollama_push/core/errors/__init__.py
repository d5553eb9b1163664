"""Every way a push can end without a receipt, and every misuse of the SDK.

::

    OllamaPushError
    ├── InvalidModelName (ValueError)      refused before any I/O
    ├── InvalidSetting (ValueError)        an argument or environment value nobody could use
    ├── UsedAfterClose (RuntimeError)      a client or transport used after close()
    ├── MachineMisuse (RuntimeError)       a state machine driven against its rules
    ├── TransportMisbehaved (RuntimeError) a transport raised something its contract forbids
    ├── TransportError
    │   ├── ConnectFailed                  never reached the peer
    │   ├── ConnectionLost                 the connection broke before the answer was whole
    │   └── TransportTimeout (TimeoutError)
    ├── ServerError                        HTTP status 300 or above
    ├── PushRejected                       the server's or the registry's no
    ├── ProtocolError
    │   ├── MalformedLine
    │   ├── LineTooLong
    │   ├── UnexpectedContent
    │   └── StreamTruncated
    ├── PushStalled (TimeoutError)         lines keep coming, bytes do not
    ├── PushInterrupted                    stopped on request, resumable
    └── VerificationFailed                 the registry does not hold what was sent

Errors carry facts as positional fields and build their text late, so that all of them
pickle, copy and chain. Texts that come from a peer are redacted on the way in.
"""

from ollama_push.core.errors.misuse import (
    InvalidModelName,
    InvalidSetting,
    MachineMisuse,
    TransportMisbehaved,
    UsedAfterClose,
)
from ollama_push.core.errors.protocol import (
    LineTooLong,
    MalformedLine,
    ProtocolError,
    StreamTruncated,
    UnexpectedContent,
)
from ollama_push.core.errors.root import OllamaPushError, shorten
from ollama_push.core.errors.transport import (
    ConnectCause,
    ConnectFailed,
    ConnectionLost,
    Peer,
    TransportError,
    TransportTimeout,
)
from ollama_push.core.errors.verdicts import (
    PushInterrupted,
    PushRejected,
    PushStalled,
    ServerError,
    VerificationFailed,
)
from ollama_push.core.server.reasons import RejectionReason

__all__ = [
    "ConnectCause",
    "ConnectFailed",
    "ConnectionLost",
    "InvalidModelName",
    "InvalidSetting",
    "LineTooLong",
    "MachineMisuse",
    "MalformedLine",
    "OllamaPushError",
    "Peer",
    "ProtocolError",
    "PushInterrupted",
    "PushRejected",
    "PushStalled",
    "RejectionReason",
    "ServerError",
    "StreamTruncated",
    "TransportError",
    "TransportMisbehaved",
    "TransportTimeout",
    "UnexpectedContent",
    "UsedAfterClose",
    "VerificationFailed",
    "shorten",
]
