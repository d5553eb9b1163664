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
    │   ├── ConnectionLost                 the connection broke before the response was complete
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

Errors carry facts (:mod:`ollama_push.core.facts`) as positional fields, so that all of them pickle, copy and
chain. ``str(error)`` is rendered by :mod:`ollama_push.core.messages`; the command and the gateway render the same
facts for their own readers. Texts that come from a peer are redacted when the error is built.
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
from ollama_push.core.errors.root import OllamaPushError
from ollama_push.core.errors.transport import ConnectFailed, ConnectionLost, TransportError, TransportTimeout
from ollama_push.core.errors.verdicts import (
    PushInterrupted,
    PushRejected,
    PushStalled,
    ServerError,
    VerificationFailed,
)
from ollama_push.core.facts import Advice, ConnectCause, Operation, Peer, RejectionReason, VerificationProblem

__all__ = [
    "Advice",
    "ConnectCause",
    "ConnectFailed",
    "ConnectionLost",
    "InvalidModelName",
    "InvalidSetting",
    "LineTooLong",
    "MachineMisuse",
    "MalformedLine",
    "OllamaPushError",
    "Operation",
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
    "VerificationProblem",
]
