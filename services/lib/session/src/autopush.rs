//! The autopush protocol over WebSocket: the protocol of Firefox, Sunup and kunifiedpush. Text frames, one JSON
//! object each.
//!
//! [`Protocol`] is the state machine: a frame in, an [`Action`] out. [`Request`] is the codec of frames from user
//! agents, [`reply`] of frames to user agents, [`Close`] has the code and the reason for the end of a connection. All
//! of this is without I/O.
//!
//! The protocol has no message for errors: an unanswerable frame closes the connection, always with a reason for
//! people to read. Strict where the deployed server is (anything else would let clients rot), tolerant where deployed
//! clients need it: a hello of one member, acknowledgements without a code, keys in any base64.
//!
//! How connections are closed:
//!
//! | code | when | what Firefox does |
//! |---|---|---|
//! | 1001 | the server stops or is restarted | reconnects after a while |
//! | 1002 | the frames break RFC 6455 | reconnects |
//! | 1003 | a binary frame | reconnects |
//! | 1007 | text that is not UTF-8, not a JSON object, or has members of a wrong type or form | reconnects |
//! | 1008 | not hello first, no hello in time, hello twice, unknown messageType, superseded, no pong | reconnects |
//! | 1009 | a message over the size limit | reconnects |
//! | 1011 | a fault of the server | reconnects |
//! | 1012 | the router has lost track of the session | reconnects |
//! | 1013 | the router or the store cannot be reached just now | reconnects |
//! | 4774 | far too many pings | stays away until the next request |

//!
//! More tolerant than autopush, on purpose:
//!
//! | what | autopush | here | why |
//! |---|---|---|---|
//! | pings of the user agent | a second one within 45 s closes the connection | a bucket of pings ([`PingAllowance`]); only far too many close it | an answer costs nothing, and a client that checks for its network is not to be thrown out |
//! | waiting messages | ten, and the next ten when all ten are acknowledged | as many as the window has room for, each acknowledgement makes room for one | a message acknowledged late, or never, does not hold up the others |

mod close;
mod pings;
mod protocol;
pub mod reply;
mod request;

pub use close::Close;
pub use pings::PingAllowance;
pub use protocol::{Action, Protocol};
pub use request::{Acknowledged, Kind, Request};
