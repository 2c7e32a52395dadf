//! The JSON of the autopush protocol, as a user agent writes and reads it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use pushgrid_types::{ChannelId, UserAgentId};
use serde::{Deserialize, Serialize};

use crate::event::{Ack, Event, Notification};
use crate::{ClientError, text};

/// Longest reason of a refusal that is kept, in characters.
const REASON_MAX: usize = 200;

/// A message that a user agent sends.
#[derive(Serialize)]
#[serde(tag = "messageType", rename_all = "snake_case")]
pub(crate) enum Outgoing<'a> {
    Hello {
        #[serde(skip_serializing_if = "Option::is_none")]
        uaid: Option<String>,
        broadcasts: BTreeMap<&'a str, &'a str>,
        use_webpush: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        urgency: Option<&'a str>,
    },
    Urgency {
        min: &'a str,
    },
    BroadcastSubscribe {
        broadcasts: BTreeMap<&'a str, &'a str>,
    },
    Register {
        #[serde(rename = "channelID")]
        channel: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    Unregister {
        #[serde(rename = "channelID")]
        channel: String,
        code: u32,
    },
    UnregisterAll {
        code: u32,
    },
    Ack {
        updates: Vec<Update<'a>>,
    },
    Nack {
        version: &'a str,
        code: i32,
    },
}

#[derive(Serialize)]
pub(crate) struct Update<'a> {
    #[serde(rename = "channelID")]
    channel: String,
    version: &'a str,
    code: u16,
}

impl<'a> From<&Ack<'a>> for Update<'a> {
    fn from(ack: &Ack<'a>) -> Self {
        Self { channel: ack.channel.to_string(), version: ack.version, code: ack.code }
    }
}

impl Outgoing<'_> {
    pub(crate) fn to_text(&self) -> String {
        serde_json::to_string(self).expect("these types have a JSON form")
    }
}

/// A message that a user agent receives.
#[derive(Debug)]
pub(crate) enum Incoming {
    Event(Event),
    Hello {
        user_agent: Option<UserAgentId>,
        status: u16,
        broadcasts: BTreeMap<String, serde_json::Value>,
    },
    Registered {
        channel: ChannelId,
        status: u16,
        endpoint: String,
    },
    Unregistered {
        channel: ChannelId,
        status: u16,
    },
    UnregisteredAll {
        status: u16,
    },
    UrgencySet {
        status: u16,
    },
    /// A message type of a later protocol: ignored, as in browsers.
    Unknown,
}

/// All members of all messages; the message type decides which are present.
#[derive(Deserialize)]
struct Members<'a> {
    #[serde(rename = "messageType", borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    uaid: Option<Cow<'a, str>>,
    status: Option<u16>,
    #[serde(rename = "channelID", borrow)]
    channel: Option<Cow<'a, str>>,
    #[serde(rename = "pushEndpoint")]
    endpoint: Option<String>,
    version: Option<String>,
    #[serde(borrow)]
    data: Option<Cow<'a, str>>,
    headers: Option<Headers>,
    broadcasts: Option<BTreeMap<String, serde_json::Value>>,
}

#[derive(Deserialize, Default)]
struct Headers {
    encoding: Option<String>,
    encryption: Option<String>,
    crypto_key: Option<String>,
    content_type: Option<String>,
}

impl Incoming {
    /// Reads one text frame. A message without a type counts as a pong, as in browsers.
    pub(crate) fn read(frame: &str) -> Result<Self, ClientError> {
        let members: Members<'_> =
            serde_json::from_str(frame).map_err(|_| ClientError::Unreadable("a frame is not its JSON"))?;
        match members.kind.as_deref() {
            None | Some("ping") => Ok(Self::Event(Event::Pong)),
            Some("notification") => members.notification().map(|it| Self::Event(Event::Notification(it))),
            Some("broadcast") => Ok(Self::Event(Event::Broadcast(members.broadcasts.unwrap_or_default()))),
            Some("hello") => Ok(Self::Hello {
                user_agent: members.uaid.as_deref().and_then(|text| text.parse().ok()),
                status: members.status()?,
                broadcasts: members.broadcasts.unwrap_or_default(),
            }),
            Some("register") => Ok(Self::Registered {
                channel: members.channel()?,
                status: members.status()?,
                endpoint: members.endpoint.unwrap_or_default(),
            }),
            Some("unregister") => {
                Ok(Self::Unregistered { channel: members.channel()?, status: members.status()? })
            }
            Some("unregister_all") => Ok(Self::UnregisteredAll { status: members.status()? }),
            Some("urgency") => Ok(Self::UrgencySet { status: members.status()? }),
            Some(_) => Ok(Self::Unknown),
        }
    }
}

impl Members<'_> {
    fn status(&self) -> Result<u16, ClientError> {
        self.status.ok_or(ClientError::Unreadable("an answer has no status"))
    }

    fn channel(&self) -> Result<ChannelId, ClientError> {
        let channel = self.channel.as_deref().and_then(|text| text.parse().ok());
        channel.ok_or(ClientError::Unreadable("a channelID is missing, or is no UUID"))
    }

    fn notification(self) -> Result<Notification, ClientError> {
        let channel = self.channel()?;
        let data = match self.data.as_deref() {
            None => None,
            Some(text) => Some(Bytes::from(
                text::decode(text)
                    .ok_or(ClientError::Unreadable("the data of a notification is not base64url"))?,
            )),
        };
        let headers = self.headers.unwrap_or_default();
        Ok(Notification {
            channel,
            version: self.version.ok_or(ClientError::Unreadable("a notification has no version"))?,
            data,
            encoding: headers.encoding,
            encryption: headers.encryption,
            crypto_key: headers.crypto_key,
            content_type: headers.content_type,
        })
    }
}

/// The error for a status other than 200, with the reason cut to its bound.
pub(crate) fn refused(request: &'static str, status: u16, reason: &str) -> ClientError {
    let reason = match reason {
        "" => "it gave no reason".to_owned(),
        text => text.chars().take(REASON_MAX).collect(),
    };
    ClientError::Refused { request, status, reason }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use pushgrid_types::ChannelId;

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_panic(text: String) {
            let _ = Incoming::read(&text);
        }

        #[test]
        fn a_notification_brings_its_octets_back(channel: [u8; 16], data: Vec<u8>, version in "[ -~]{1,40}") {
            let channel = ChannelId::from_octets(channel);
            let frame = serde_json::json!({
                "messageType": "notification",
                "channelID": channel.to_string(),
                "version": version,
                "data": text::encode(&data),
                "headers": {"encoding": "aes128gcm", "content_type": "text/plain"},
            });
            let Ok(Incoming::Event(Event::Notification(read))) = Incoming::read(&frame.to_string()) else {
                return Err(TestCaseError::fail("not read as a notification"));
            };
            prop_assert_eq!(read.channel, channel);
            prop_assert_eq!(read.version, version);
            prop_assert_eq!(read.data, Some(Bytes::from(data)));
            prop_assert_eq!(read.encoding.as_deref(), Some("aes128gcm"));
            prop_assert_eq!(read.content_type.as_deref(), Some("text/plain"));
        }
    }

    #[test]
    fn what_is_sent_has_the_members_of_the_protocol() {
        let channel = ChannelId::from_octets([0xab; 16]);
        let ack = Ack { channel, version: "v\"1", code: 100 };
        let frames = [
            Outgoing::Hello { uaid: None, broadcasts: BTreeMap::new(), use_webpush: true, urgency: None }
                .to_text(),
            Outgoing::Register { channel: channel.to_string(), key: None }.to_text(),
            Outgoing::Unregister { channel: channel.to_string(), code: 200 }.to_text(),
            Outgoing::UnregisterAll { code: 200 }.to_text(),
            Outgoing::Ack { updates: vec![Update::from(&ack)] }.to_text(),
            Outgoing::Nack { version: "v", code: 301 }.to_text(),
        ];
        assert_eq!(
            frames,
            [
                r#"{"messageType":"hello","broadcasts":{},"use_webpush":true}"#,
                r#"{"messageType":"register","channelID":"abababab-abab-abab-abab-abababababab"}"#,
                r#"{"messageType":"unregister","channelID":"abababab-abab-abab-abab-abababababab","code":200}"#,
                r#"{"messageType":"unregister_all","code":200}"#,
                concat!(
                    r#"{"messageType":"ack","updates":[{"channelID":"abababab-abab-abab-abab-abababababab","#,
                    r#""version":"v\"1","code":100}]}"#
                ),
                r#"{"messageType":"nack","version":"v","code":301}"#,
            ]
        );
    }

    #[test]
    fn an_empty_object_is_a_pong_and_an_unknown_type_is_ignored() {
        assert!(matches!(Incoming::read("{}"), Ok(Incoming::Event(Event::Pong))));
        assert!(matches!(Incoming::read(r#"{"messageType":"tea"}"#), Ok(Incoming::Unknown)));
        assert!(matches!(Incoming::read(r#"{"messageType":"register"}"#), Err(ClientError::Unreadable(_))));
    }

    #[test]
    fn an_empty_body_is_told_from_a_missing_one() {
        let frame = |data: &str| {
            let id = "00000000-0000-0000-0000-000000000001";
            Incoming::read(&format!(
                r#"{{"messageType":"notification","channelID":"{id}","version":"1"{data}}}"#
            ))
        };
        let Ok(Incoming::Event(Event::Notification(bare))) = frame("") else { panic!("not read") };
        let Ok(Incoming::Event(Event::Notification(empty))) = frame(r#","data":"""#) else {
            panic!("not read")
        };
        assert_eq!((bare.data, empty.data), (None, Some(Bytes::new())));
    }
}
