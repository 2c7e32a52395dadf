//! The wire between services, and the form of what is stored.
//!
//! [`wire`] is generated from the `.proto` files at the top of the repository; [`stored`] turns messages and
//! subscriptions into octets and back, the same for the log, the view and the links.
//!
//! What is not here: any connection, any server, any store.
//!
//! Invariant: what was encoded comes back as it was. Other octets are refused, naming the field; they never panic.
//! Invariant: no generated type shows what it holds, for it has no `Debug`.

pub mod stored;
#[expect(
    missing_debug_implementations,
    clippy::pedantic,
    clippy::allow_attributes,
    reason = "generated, and not to be shown"
)]
pub mod wire;
