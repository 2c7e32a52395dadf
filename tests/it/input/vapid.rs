//! Tokens that do not prove the sender (RFC 8292): each is answered 403 with the reason, on a restricted subscription
//! and on an unrestricted one, and nothing is accepted.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use pushgrid_crypto::vapid::KeyPair;
use pushgrid_types::{SystemClock, SystemRng, Timestamp, WallClock as _};

use super::request::Request;
use super::scene::{Scene, explains};

const HOUR: Duration = Duration::from_hours(1);

/// Valid `Authorization` for the service of `scene`.
pub(super) fn authorization(scene: &Scene, key: &KeyPair) -> Result<String> {
    Ok(key.authorization(&origin(scene)?, SystemClock.wall().plus(HOUR), None))
}

/// Origin of the endpoints of the service.
fn origin(scene: &Scene) -> Result<String> {
    let port = scene.server.ingress().rsplit(':').next().context("a port")?;
    Ok(format!("http://localhost:{port}"))
}

/// Parts of a valid `Authorization`.
#[derive(Debug, Clone)]
struct Parts {
    header: String,
    claims: String,
    signature: Vec<u8>,
    key: String,
}

impl Parts {
    fn of(authorization: &str) -> Result<Self> {
        let rest = authorization.strip_prefix("vapid t=").context("the scheme")?;
        let (token, key) = rest.split_once(", k=").context("the key")?;
        let [header, claims, signature] = token.split('.').collect::<Vec<_>>()[..] else {
            anyhow::bail!("not three parts")
        };
        let part = |text: &str| anyhow::Ok(String::from_utf8(URL_SAFE_NO_PAD.decode(text)?)?);
        Ok(Self {
            header: part(header)?,
            claims: part(claims)?,
            signature: URL_SAFE_NO_PAD.decode(signature)?,
            key: key.to_owned(),
        })
    }

    fn token(&self) -> String {
        let parts = [self.header.as_bytes(), self.claims.as_bytes(), &self.signature];
        parts.map(|part| URL_SAFE_NO_PAD.encode(part)).join(".")
    }

    fn text(&self) -> String {
        format!("vapid t={}, k={}", self.token(), self.key)
    }

    fn header(&self, header: &str) -> Self {
        Self { header: header.to_owned(), ..self.clone() }
    }

    fn claims(&self, claims: &str) -> Self {
        Self { claims: claims.to_owned(), ..self.clone() }
    }

    fn signature(&self, signature: impl Into<Vec<u8>>) -> Self {
        Self { signature: signature.into(), ..self.clone() }
    }

    fn key(&self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self.clone() }
    }
}

/// Signature in ASN.1, as in other uses of ECDSA.
fn der(signature: &[u8]) -> Vec<u8> {
    let integer = |number: &[u8]| {
        let digits = [&[0], number].concat();
        [&[2, u8::try_from(digits.len()).expect("33 octets")], digits.as_slice()].concat()
    };
    let (r, s) = signature.split_at(32);
    let both = [integer(r), integer(s)].concat();
    [&[0x30, u8::try_from(both.len()).expect("70 octets")], both.as_slice()].concat()
}

/// Bad tokens, with the reason in each answer.
fn bad_tokens(scene: &Scene) -> Result<Vec<(&'static str, String, &'static str)>> {
    let now = SystemClock.wall();
    let (key, other) = (&scene.key, KeyPair::generate(&SystemRng));
    let origin = origin(scene)?;
    let signed = |audience: &str, expires: Timestamp| key.authorization(audience, expires, None);
    let ahead = now.plus(HOUR);
    let (good, foreign) =
        (Parts::of(&signed(&origin, ahead))?, Parts::of(&other.authorization(&origin, ahead, None))?);
    let past = Timestamp::from_secs(now.as_secs() - 3600);
    let secure = origin.replace("http:", "https:");
    let (token, k) = (good.token(), good.key.clone());
    let standard = STANDARD.encode(&good.signature);
    let (signed_part, _) = token.rsplit_once('.').context("three parts")?;
    let compressed = format!("Ag{}", &k[2..43]);
    let later = good.claims.replace(&ahead.as_secs().to_string(), "9999999999");
    let good_header = good.header.clone();
    Ok(vec![
        ("expired", signed(&origin, past), "has expired"),
        ("25 hours ahead", signed(&origin, now.plus(25 * HOUR)), "24 hours ahead"),
        ("in milliseconds", signed(&origin, Timestamp::from_secs(ahead.as_millis())), "not milliseconds"),
        ("for another host", signed("https://push.example.net", ahead), "set aud to"),
        ("for another scheme", signed(&secure, ahead), "set aud to"),
        ("for a longer origin", signed(&format!("{origin}0"), ahead), "set aud to"),
        ("for everybody", signed("*", ahead), "set aud to"),
        ("for the endpoint itself", signed(&format!("{origin}/push/"), ahead), "set aud to"),
        ("signed by a key that is not k", foreign.key(&k).text(), "the signature does not fit"),
        ("other claims under the signature", good.claims(&later).text(), "the signature does not fit"),
        (
            "a bit of the signature is wrong",
            good.signature(flipped(&good.signature)).text(),
            "the signature does not fit",
        ),
        ("alg none", good.header(r#"{"typ":"JWT","alg":"none"}"#).signature([]).text(), "ES256"),
        ("alg HS256", good.header(r#"{"typ":"JWT","alg":"HS256"}"#).text(), "ES256"),
        ("alg in lower case", good.header(r#"{"typ":"JWT","alg":"es256"}"#).text(), "ES256"),
        ("no alg", good.header(r#"{"typ":"JWT"}"#).text(), "ES256"),
        ("an extension", good.header(&good_header.replace('}', r#","crit":["exp"]}"#)).text(), "crit"),
        ("a header that is no JSON", good.header("JWT").text(), "a JSON object"),
        ("a DER signature", good.signature(der(&good.signature)).text(), "not DER"),
        ("no signature", good.signature([]).text(), "64 octets"),
        ("r and s are zero", good.signature([0; 64]).text(), "signature"),
        ("another base64", format!("vapid t={signed_part}.{standard}, k={k}"), "base64url"),
        ("two parts", format!("vapid t={signed_part}, k={k}"), "three parts"),
        ("four parts", format!("vapid t={token}.AAAA, k={k}"), "three parts"),
        ("garbage", format!("vapid t=garbage, k={k}"), "three parts"),
        ("no t", format!("vapid k={k}"), "the token is missing"),
        ("no k", format!("vapid t={token}"), "the public key is missing"),
        ("nothing", "vapid".to_owned(), "is missing"),
        ("t is empty", format!("vapid t=, k={k}"), ""),
        ("k twice", format!("vapid t={token}, k={k}, k={}", other.public().to_text()), "there twice"),
        ("t twice", format!("vapid t={token}, t={}, k={k}", foreign.token()), "there twice"),
        ("no separator", format!("vapid t={token} k={k}"), "cannot be read"),
        ("an open quote", format!("vapid t=\"{token}, k={k}"), "cannot be read"),
        ("a compressed key", good.key(&compressed).text(), "public key"),
        ("a point off the curve", good.key(&URL_SAFE_NO_PAD.encode([4; 65])).text(), "public key"),
        ("a token of 12 kB", good.claims(&" ".repeat(9000)).text(), "too long"),
        ("deep JSON", good.claims(&"[".repeat(2000)).text(), ""),
    ])
}

fn flipped(signature: &[u8]) -> Vec<u8> {
    let mut flipped = signature.to_vec();
    flipped[40] ^= 1;
    flipped
}

// Holds: C-05, C-06, C-09, C-10, C-11, C-14, C-17, C-18, C-24, C-27, C-28, C-31, C-43, C-44, I-06.
#[tokio::test]
async fn no_bad_token_gets_a_message_in_whatever_it_is_for() -> Result<()> {
    let mut scene = Scene::start_with(&[]).await?;
    let key = scene.key.public();
    let (open, restricted) = (scene.open().await?, scene.restricted(&key).await?);
    for (what, authorization, says) in bad_tokens(&scene)? {
        for subscription in [&restricted, &open] {
            let request = Request::push(subscription, b"forged")?.with("Authorization", &authorization);
            let answer = scene.ask(&request).await.context(what)?;
            let said = String::from_utf8_lossy(&answer.body);
            ensure!(answer.status == 403, "{what}: answered {}: {said}", answer.status);
            explains(&answer, says).context(what)?;
            ensure!(!said.contains(&key.to_text()), "{what}: the key is in the answer: {said}");
        }
    }
    let valid = KeyPair::generate(&SystemRng);
    let request =
        Request::push(&restricted, b"not mine")?.with("Authorization", &authorization(&scene, &valid)?);
    let answer = scene.ask(&request).await?;
    ensure!(answer.status == 403, "a valid token of another key: answered {}", answer.status);
    explains(&answer, "sign with the key it was made with")?;
    scene.accepted(0).await.context("a forged message was accepted")?;
    scene.works().await?;
    scene.calm()
}

// Holds: C-07, C-56.
#[tokio::test]
async fn authentication_that_contradicts_itself_is_a_bad_request() -> Result<()> {
    let mut scene = Scene::start_with(&[]).await?;
    let key = scene.key.public();
    let subscription = scene.restricted(&key).await?;
    let good = authorization(&scene, &scene.key)?;
    let signed = Request::push(&subscription, b"twice")?.with("Authorization", &good);
    let answer = scene.ask(&signed.clone().with("Authorization", &good)).await?;
    ensure!(answer.status == 400, "two Authorization lines: answered {}", answer.status);
    explains(&answer, "send one")?;
    let other = format!("p256ecdsa={}", KeyPair::generate(&SystemRng).public().to_text());
    let answer = scene.ask(&signed.with("Crypto-Key", &other)).await?;
    ensure!(answer.status == 400, "two keys: answered {}", answer.status);
    explains(&answer, "different keys")?;
    scene.accepted(0).await.context("a message was accepted")?;
    scene.works().await
}

// Holds: C-01, C-02, C-03, C-04, C-12.
#[tokio::test]
async fn every_lawful_way_to_write_a_valid_token_is_accepted() -> Result<()> {
    let mut scene = Scene::start_with(&[]).await?;
    let key = scene.key.public();
    let subscription = scene.restricted(&key).await?;
    let good = authorization(&scene, &scene.key)?;
    let Parts { key: k, .. } = Parts::of(&good)?;
    let token = Parts::of(&good)?.token();
    let lawful = [
        format!("vapid t={token}, k={k}"),
        format!("vapid t={token},k={k}"),
        format!("VAPID K={k}, T={token}"),
        format!("vapid t=\"{token}\", k=\"{k}\""),
        format!("vapid realm=\"push\", t={token} , k={k}, more=1"),
        format!("vapid t={token}, k={k}="),
    ];
    for authorization in lawful {
        let request = Request::push(&subscription, b"signed")?.with("Authorization", &authorization);
        scene.send(&request).await.context(authorization)?;
        scene.receives(&subscription, b"signed").await?;
    }
    Ok(())
}
