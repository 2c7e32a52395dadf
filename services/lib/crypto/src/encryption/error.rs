use super::size::PLAINTEXT_MAX;

/// Reason for not encrypting a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncryptError {
    /// The plaintext does not fit the one record that every push service must take.
    #[error("the message has {octets} octets, more than the {PLAINTEXT_MAX} that fit a push message")]
    TooLong {
        /// Length of the plaintext, in octets.
        octets: usize,
    },
    /// The user agent's public key is not valid.
    #[error("p256dh is not base64url of an uncompressed point of P-256 (65 octets, 87 characters)")]
    InvalidP256dh,
    /// The user agent's authentication secret is not 16 octets.
    #[error("auth is not base64url of 16 octets (22 characters)")]
    InvalidAuth,
}

/// Reason for not decrypting a message. A user agent discards the message for any reason (RFC 8291 section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecryptError {
    /// Shorter than the shortest message there is.
    #[error("the message is cut off: it is shorter than its header, one octet and a tag")]
    TooShort,
    /// A record size too small for a record.
    #[error("the record size is too small to hold any text")]
    RecordSize,
    /// `aes128gcm`: the key id in the header is no public key.
    #[error("the key id of the message is not an uncompressed point of 65 octets")]
    KeyId,
    /// `aesgcm`: no salt of 16 octets in `Encryption`, or several.
    #[error("the Encryption field does not hold exactly one salt of 16 octets")]
    Salt,
    /// `aesgcm`: no `dh` of 65 octets in `Crypto-Key` for that salt, or several.
    #[error("the Crypto-Key field does not hold exactly one dh of 65 octets for the salt")]
    SenderKey,
    /// The sender's public key is no point of P-256.
    #[error("the sender's public key is not a point of P-256")]
    InvalidPoint,
    /// More than one record, or no last one.
    #[error("the message does not consist of one whole record")]
    SeveralRecords,
    /// Made for another receiver, or changed on its way.
    #[error("the message was made for another key, or was changed on its way")]
    Tag,
    /// The octets around the text are not a delimiter and zeros.
    #[error("the padding of the message is malformed")]
    Padding,
}
