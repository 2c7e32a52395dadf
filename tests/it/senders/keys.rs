//! VAPID keys made by other tools sign messages.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use pushgrid_crypto::vapid::{KeyPair, PublicKey};
use pushgrid_it::{Server, npm_web_push, pushgrid, pywebpush, within};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::sleep;

use super::ARRIVAL;

/// Commands that make a key pair in `$1`.
const TAKEN: [(&str, &str); 7] = [
    ("ecparam -genkey", "openssl ecparam -name prime256v1 -genkey -out \"$1\""),
    ("ecparam -genkey -noout", "openssl ecparam -name prime256v1 -genkey -noout -out \"$1\""),
    ("genpkey", "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out \"$1\""),
    ("SEC 1 in DER", "openssl ecparam -name prime256v1 -genkey -noout -outform DER -out \"$1\""),
    (
        "PKCS #8 in DER",
        "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -outform DER -out \"$1\"",
    ),
    ("with its text", "openssl ecparam -name prime256v1 -genkey -noout | openssl ec -text -out \"$1\""),
    (
        "the public key in front, indented, with the line ends of Windows and its mark",
        "openssl ecparam -name prime256v1 -genkey -noout -out \"$1.key\" && { printf '\\357\\273\\277'; \
         { openssl ec -in \"$1.key\" -pubout; cat \"$1.key\"; } | sed 's/^/  /; s/$/\\r/'; } > \"$1\"",
    ),
];

const REFUSED: [(&str, &str, &str); 6] = [
    (
        "encrypted",
        "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -aes128 -pass pass:word -out \"$1\"",
        "encrypted",
    ),
    (
        "encrypted, in the older form",
        "openssl ecparam -name prime256v1 -genkey -noout | openssl ec -aes128 -passout pass:word -out \"$1\"",
        "encrypted",
    ),
    ("another curve", "openssl ecparam -name secp384r1 -genkey -noout -out \"$1\"", "P-256"),
    ("another algorithm", "openssl genpkey -algorithm ed25519 -out \"$1\"", "P-256"),
    (
        "the curve spelled out",
        "openssl ecparam -name prime256v1 -genkey -noout -param_enc explicit -out \"$1\"",
        "by its name",
    ),
    (
        "the public half",
        "openssl ecparam -name prime256v1 -genkey -noout | openssl ec -pubout -out \"$1\"",
        "public key",
    ),
];

/// Script that makes keys in a folder and prints the public one.
const PY_VAPID: &str = "
import sys
from cryptography.hazmat.primitives import serialization as s
from py_vapid import Vapid
from py_vapid.utils import b64urlencode
v = Vapid()
v.generate_keys()
v.save_key(sys.argv[1] + '/py_vapid.pem')
raw = v.private_key.private_numbers().private_value.to_bytes(32, 'big')
open(sys.argv[1] + '/py_vapid.txt', 'w').write(b64urlencode(raw) + '\\n')
der = v.private_key.private_bytes(s.Encoding.DER, s.PrivateFormat.TraditionalOpenSSL, s.NoEncryption())
open(sys.argv[1] + '/py_vapid.der.txt', 'w').write(b64urlencode(der))
print(b64urlencode(v.public_key.public_bytes(s.Encoding.X962, s.PublicFormat.UncompressedPoint)))
";

async fn said(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.stdin(Stdio::null()).output().await?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}

async fn make(script: &str, file: &Path) -> Result<()> {
    said(Command::new("sh").args(["-c", script, "sh"]).arg(file)).await.map(drop)
}

/// Public key of a file, by openssl.
async fn public_of(file: &Path) -> Result<PublicKey> {
    let pem = said(Command::new("openssl").args(["pkey", "-pubout", "-in"]).arg(file)).await?;
    Ok(PublicKey::from_file(&pem)?)
}

/// Keys made by sending libraries: the library, the file, and the public key printed.
async fn of_senders(folder: &Path) -> Result<Vec<(&'static str, PathBuf, String)>> {
    let mut all = Vec::new();
    let [node, sender] = npm_web_push()?;
    let script = sender.with_file_name("node_modules/web-push/src/cli.js");
    for (what, arguments) in [("web-push", &[][..]), ("web-push --json", &["--json"])] {
        let mut command = Command::new(&node);
        let text = said(command.arg(&script).arg("generate-vapid-keys").args(arguments)).await?;
        let text = String::from_utf8(text)?;
        let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && !"-_".contains(letter));
        let public = words.max_by_key(|word| word.len()).context("it says no key")?.to_owned();
        let file = folder.join(what);
        std::fs::write(&file, text)?;
        all.push((what, file, public));
    }
    let [python, _] = pywebpush()?;
    let public = said(Command::new(python).args(["-c", PY_VAPID]).arg(folder)).await?;
    let public = String::from_utf8(public)?.trim().to_owned();
    for name in ["py_vapid.pem", "py_vapid.txt", "py_vapid.der.txt"] {
        all.push((name, folder.join(name), public.clone()));
    }
    Ok(all)
}

#[tokio::test]
async fn keys_of_other_tools_are_read_or_refused_with_the_reason() -> Result<()> {
    let folder = TempDir::with_prefix("pushgrid-it-")?;
    let file = folder.path().join("key");
    for (what, script) in TAKEN {
        make(script, &file).await.context(what)?;
        let pair = KeyPair::from_file(&std::fs::read(&file)?).context(what)?;
        // The last form is more than openssl itself reads.
        let plain = file.with_extension("key");
        let public = public_of(if plain.exists() { &plain } else { &file }).await.context(what)?;
        ensure!(pair.public() == public, "{what}: another key");
    }
    for (what, script, reason) in REFUSED {
        make(script, &file).await.context(what)?;
        let refused = KeyPair::from_file(&std::fs::read(&file)?).map(drop);
        let refused = refused.err().with_context(|| format!("{what}: it was taken"))?;
        ensure!(refused.to_string().contains(reason), "{what}: {refused}");
    }
    for (what, file, public) in of_senders(folder.path()).await? {
        let pair = KeyPair::from_file(&std::fs::read(&file)?).context(what)?;
        ensure!(pair.public().to_text() == public, "{what}: another key");
    }
    Ok(())
}

#[tokio::test]
async fn a_key_of_openssl_subscribes_and_sends() -> Result<()> {
    let server = Server::start().await?;
    let folder = TempDir::with_prefix("pushgrid-it-")?;
    let [file, other, subscription] =
        ["app.pem", "other.pem", "subscription.json"].map(|name| folder.path().join(name));
    make(TAKEN[0].1, &file).await?;
    make(TAKEN[2].1, &other).await?;
    let mut listen = pushgrid()?;
    listen.current_dir(&folder).stdout(Stdio::null()).args(["listen", "--url", server.connection(), "--key"]);
    listen.arg(&file).args(["--count", "1", "--subscription"]).arg(&subscription);
    let mut listening = listen.spawn()?;
    let written = async {
        while !subscription.exists() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    within(ARRIVAL, "a subscription", written).await?;
    let send = async |key: &Path| {
        let mut send = pushgrid()?;
        send.args(["send", "--message", "It works", "--subscription"]).arg(&subscription);
        said(send.arg("--vapid").arg(key)).await
    };
    ensure!(send(&other).await.is_err(), "a message of another key was taken");
    send(&file).await?;
    let ended = within(ARRIVAL, "the message", listening.wait()).await??;
    ensure!(ended.success(), "listen ended with {ended}");
    Ok(())
}
