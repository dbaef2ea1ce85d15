//! The challenge and the answers to it: HMAC-SHA256 over text as it is sent, both ways.
//!
//! Pure functions over lines; both halves of the handshake stand here so that they cannot drift.
//! Nothing here reads the key's file or a socket. The form is described in maqet-protocol(7).

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::hex::{hex, is_hex64, unhex};
use super::secret::Key;
use crate::error::{Error, Result};

/// The longest line a client may send before it has authenticated, in bytes.
pub(crate) const LINE_LIMIT: usize = 512;

/// The one answer to every failed authentication.
pub(crate) const REFUSAL: &str = r#"{"status":"error","error":"Authentication failed"}"#;

#[derive(Debug, Serialize, Deserialize)]
struct ChallengeLine {
    #[serde(rename = "type")]
    kind: String,
    value: String,
    #[serde(default)]
    v: u64,
    #[serde(default)]
    vm: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct AnswerLine {
    auth: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nonce: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    v: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ProofLine {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    #[serde(default)]
    proof: String,
}

/// 64 lower-case hex characters of 32 random bytes, new for every connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Nonce(String);

impl Nonce {
    pub(crate) fn random() -> Result<Nonce> {
        let mut bytes = [0_u8; 32];
        getrandom::fill(&mut bytes)
            .map_err(|error| Error::failed(format!("cannot get random bytes: {error}")))?;
        Ok(Nonce(hex(&bytes)))
    }

    fn parse(text: &str) -> Option<Nonce> {
        is_hex64(text).then(|| Nonce(text.to_owned()))
    }
}

/// The server's half of one handshake.
#[derive(Debug)]
pub(crate) struct Challenge {
    value: Nonce,
    id: String,
}

/// A client that knows the key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// It speaks version 1 and is sent nothing before its first request.
    Version1,
    /// It speaks version 2 and is sent this line, our proof that we know the key too.
    Version2 { proof_line: String },
}

impl Challenge {
    pub(crate) fn new(id: &str) -> Result<Challenge> {
        Ok(Challenge { value: Nonce::random()?, id: id.to_owned() })
    }

    /// What the server sends first, without the newline.
    pub(crate) fn line(&self) -> String {
        let line = ChallengeLine {
            kind: "challenge".into(),
            value: self.value.0.clone(),
            v: 2,
            vm: self.id.clone(),
        };
        to_line(&line)
    }

    /// Judges the client's answer, in constant time for a given form. `None`: refused, and the
    /// reason is nobody's business.
    pub(crate) fn verify(&self, key: &Key, line: &[u8]) -> Option<Accepted> {
        let answer: AnswerLine = serde_json::from_slice(line).ok()?;
        let mac = unhex(&answer.auth)?;
        match (answer.v, answer.nonce) {
            (None | Some(1), None) => {
                let expected = keyed(key.as_bytes()).chain_update(&self.value.0);
                expected.verify_slice(&mac).ok().map(|()| Accepted::Version1)
            }
            (Some(2), Some(nonce)) => {
                let nonce = Nonce::parse(&nonce)?;
                tagged(key, "client", &self.id, &self.value, &nonce).verify_slice(&mac).ok()?;
                let proof = finish(tagged(key, "server", &self.id, &self.value, &nonce));
                let line = ProofLine { kind: "auth".into(), status: "ok".into(), proof };
                Some(Accepted::Version2 { proof_line: to_line(&line) })
            }
            _ => None,
        }
    }
}

/// The client's half of one handshake, once it has answered: what is left is the server's proof.
#[derive(Debug)]
pub(crate) struct Answer {
    nonce: Nonce,
    value: Nonce,
    id: String,
}

impl Answer {
    /// Reads the server's challenge; only a server of version 2 that names the VM we meant is
    /// answered, with the line that is returned beside.
    pub(crate) fn to_challenge(key: &Key, id: &str, line: &[u8]) -> Result<(Answer, String)> {
        let challenge: ChallengeLine =
            serde_json::from_slice(line).map_err(|_| stranger("it sent no challenge"))?;
        if challenge.kind != "challenge" || challenge.v < 2 {
            return Err(stranger("it does not speak version 2 of the protocol"));
        }
        if challenge.vm != id {
            return Err(stranger("it speaks for another VM"));
        }
        let value =
            Nonce::parse(&challenge.value).ok_or_else(|| stranger("it sent no challenge"))?;
        let answer = Answer { nonce: Nonce::random()?, value, id: id.to_owned() };
        let auth = finish(tagged(key, "client", id, &answer.value, &answer.nonce));
        let line = AnswerLine { auth, nonce: Some(answer.nonce.0.clone()), v: Some(2) };
        Ok((answer, to_line(&line)))
    }

    /// Judges the server's proof, in constant time.
    pub(crate) fn verify(&self, key: &Key, line: &[u8]) -> Result<()> {
        let refused = || stranger("it refused our authentication");
        let proof: ProofLine = serde_json::from_slice(line).map_err(|_| refused())?;
        if proof.kind != "auth" || proof.status != "ok" {
            return Err(refused());
        }
        let unproven = || stranger("it cannot prove that it knows the VM's secret");
        let mac = unhex(&proof.proof).ok_or_else(unproven)?;
        tagged(key, "server", &self.id, &self.value, &self.nonce)
            .verify_slice(&mac)
            .map_err(|_| unproven())
    }
}

/// A server that is not, or cannot show that it is, the VM's runner.
fn stranger(why: &str) -> Error {
    Error::permission(format!("the server on its socket is not to be trusted: {why}"))
}

/// `HMAC(SHA-256("maqet-ipc/2\0" ‖ key), role \0 id \0 value \0 nonce)`.
fn tagged(key: &Key, role: &str, id: &str, value: &Nonce, nonce: &Nonce) -> Hmac<Sha256> {
    let key2 = Sha256::new().chain_update(b"maqet-ipc/2\0").chain_update(key.as_bytes()).finalize();
    let mut mac = keyed(&key2);
    for part in [role, id, &value.0] {
        mac.update(part.as_bytes());
        mac.update(b"\0");
    }
    mac.chain_update(nonce.0.as_bytes())
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

fn finish(mac: Hmac<Sha256>) -> String {
    hex(&mac.finalize().into_bytes())
}

fn to_line(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain strings and numbers always serialize")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0b1c6c1e-7a55-4f7e-9d57-1f1e6f1c2d3e";

    fn keys() -> (Key, Key) {
        (Key::random().unwrap(), Key::random().unwrap())
    }

    #[test]
    fn both_sides_prove_themselves_to_each_other() {
        let (key, _) = keys();
        let challenge = Challenge::new(ID).unwrap();
        let (answer, line) = Answer::to_challenge(&key, ID, challenge.line().as_bytes()).unwrap();
        let Some(Accepted::Version2 { proof_line }) = challenge.verify(&key, line.as_bytes())
        else {
            panic!("refused");
        };
        assert!(answer.verify(&key, proof_line.as_bytes()).is_ok());
        assert!(line.len() < LINE_LIMIT);
    }

    #[test]
    fn a_version_1_answer_is_the_hmac_of_the_value_under_the_secret() {
        let key = Key::parse(&"0".repeat(64)).unwrap();
        let challenge = Challenge { value: Nonce("a".repeat(64)), id: ID.into() };
        // printf %s aaa…(64) | openssl dgst -sha256 -hmac 000…(64)
        let mac = finish(keyed("0".repeat(64).as_bytes()).chain_update("a".repeat(64)));
        let line = format!(r#"{{"auth":"{mac}"}}"#);
        assert_eq!(challenge.verify(&key, line.as_bytes()), Some(Accepted::Version1));
    }

    #[test]
    fn another_key_a_flipped_bit_and_every_other_form_are_refused() {
        let (key, other) = keys();
        let challenge = Challenge::new(ID).unwrap();
        let first = challenge.line();
        let (_, good) = Answer::to_challenge(&key, ID, first.as_bytes()).unwrap();
        let (_, foreign) = Answer::to_challenge(&other, ID, first.as_bytes()).unwrap();
        assert!(challenge.verify(&key, good.as_bytes()).is_some());
        let digit = |c: char| if c == '0' { '1' } else { '0' };
        let mut flipped: Vec<char> = good.chars().collect();
        flipped[12] = digit(flipped[12]);
        let flipped: String = flipped.into_iter().collect();
        for bad in [
            foreign.as_str(),
            &flipped,
            &good.replace(r#""v":2"#, r#""v":3"#),
            &good.replace(r#","v":2"#, ""),
            &good.to_uppercase(),
            "",
            "{}",
            "[]",
            r#"{"auth":""}"#,
            r#"{"auth":"é"}"#,
        ] {
            assert_eq!(challenge.verify(&key, bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn an_answer_serves_neither_another_connection_nor_another_vm_nor_the_server() {
        let (key, _) = keys();
        let one = Challenge::new(ID).unwrap();
        let (_, line) = Answer::to_challenge(&key, ID, one.line().as_bytes()).unwrap();
        let two = Challenge::new(ID).unwrap();
        assert_eq!(two.verify(&key, line.as_bytes()), None, "replayed");
        let elsewhere = Challenge { value: one.value.clone(), id: "other".into() };
        assert_eq!(elsewhere.verify(&key, line.as_bytes()), None, "relayed to another VM");
        let (answer, line) = Answer::to_challenge(&key, ID, one.line().as_bytes()).unwrap();
        let reflected: AnswerLine = serde_json::from_str(&line).unwrap();
        let reflected = format!(r#"{{"type":"auth","status":"ok","proof":"{}"}}"#, reflected.auth);
        assert!(answer.verify(&key, reflected.as_bytes()).is_err(), "reflected");
    }

    #[test]
    fn our_client_answers_nobody_but_a_version_2_server_of_its_vm() {
        let (key, _) = keys();
        let good = Challenge::new(ID).unwrap().line();
        for bad in [
            good.replace(r#""v":2"#, r#""v":1"#),
            good.replace(ID, "other"),
            good.replace("challenge", "greeting"),
            r#"{"type":"challenge","value":"abc"}"#.into(),
            String::new(),
        ] {
            let error = Answer::to_challenge(&key, ID, bad.as_bytes()).unwrap_err();
            assert_eq!(error.kind, crate::error::Kind::Permission, "{bad}");
        }
        let (answer, _) = Answer::to_challenge(&key, ID, good.as_bytes()).unwrap();
        for bad in [REFUSAL, "{}", r#"{"type":"auth","status":"ok"}"#] {
            assert!(answer.verify(&key, bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
