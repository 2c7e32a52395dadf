//! The wire between services, and the stored form of messages and subscriptions.
//!
//! [`wire`] is generated from the `.proto` files at the top of the repository; [`stored`] turns messages and
//! subscriptions into octets and back, the same for the log, the view and the links.
//!
//! Not here: any connection, any server, any store.
//!
//! Invariant: decoding restores the encoded value. Other octets are refused, naming the field, without a panic.
//! Invariant: no generated type shows its content: none has `Debug`.

pub mod stored;
#[expect(
    missing_debug_implementations,
    clippy::pedantic,
    clippy::allow_attributes,
    reason = "generated, and not to be shown"
)]
pub mod wire;
