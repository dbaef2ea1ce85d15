//! Requests and replies come through their lines, and nonsense is refused.

use super::super::condition::Written;
use super::super::talk::Mark;
use super::*;
use crate::error::Kind;
use crate::time::Timestamp;

#[test]
fn every_call_survives_its_own_line() {
    let arguments = json!({"device": "d0", "size": 7}).as_object().unwrap().clone();
    let written = |word| Written::parse(word).unwrap();
    let wait = WaitCall {
        wanted: vec![written("console:login: "), written("tcp:22")],
        any: true,
        unwanted: vec![written(r"console:panic\r")],
        from: Mark::At(7),
    };
    for call in [
        Call::Ping,
        Call::Status,
        Call::Qmp { command: "cont".into(), arguments: arguments.clone(), unsafe_: true },
        Call::Qmp { command: "query-status".into(), arguments, unsafe_: false },
        Call::Stop(StopCall::default()),
        Call::Stop(StopCall { manner: Manner::Force, guest_time: None, at_once: true }),
        Call::Stop(StopCall {
            manner: Manner::NoKill,
            guest_time: Some(Duration::from_millis(1500)),
            at_once: false,
        }),
        Call::Wait(wait.clone()),
        Call::Wait(WaitCall { from: Mark::Now, ..wait.clone() }),
        Call::Send(SendCall { bytes: b"a\r\x00".to_vec(), line_break: true, wait: None }),
        Call::Send(SendCall {
            bytes: Vec::new(),
            line_break: false,
            wait: Some(WaitCall { from: Mark::Start, ..wait }),
        }),
        Call::Events(EventsCall { follow: true, since: Some(Timestamp::from_unix_millis(7)) }),
        Call::Console(ConsoleCall { read_only: true, force: false }),
        Call::Keys(KeysCall {
            chords: vec!["ctrl-c".into(), "f2".into()],
            hold: Duration::from_millis(1500),
        }),
        Call::Type(TypeCall { text: "é\r".into() }),
        Call::Screen(ScreenCall { format: super::super::screen::Format::Text }),
    ] {
        let ids = [None, Some(json!(7)), Some(json!("a"))];
        for id in
            ids.into_iter().skip(usize::from(matches!(call, Call::Console(_) | Call::Events(_))))
        {
            let request = Request { id, call: call.clone() };
            let line = request.to_line();
            assert_eq!(line.iter().filter(|&&byte| byte == b'\n').count(), 1);
            assert_eq!(Request::parse(&line).unwrap(), request);
        }
    }
}

#[test]
fn a_version_1_request_is_understood() {
    let line = br#"{"method":"qmp","args":["query-status"],"kwargs":{}}"#;
    let Call::Qmp { command, arguments, unsafe_ } = Request::parse(line).unwrap().call else {
        panic!()
    };
    assert!(command == "query-status" && arguments.is_empty() && !unsafe_);
    assert_eq!(Request::parse(br#"{"method":"ping"}"#).unwrap().call, Call::Ping);
}

#[test]
fn nonsense_is_refused_under_the_id_it_came_with() {
    for (line, id) in [
        (r#""#, None),
        (r#"[]"#, None),
        (r#"{"method":"ping","id":{}}"#, None),
        (r#"{"method":"dance","id":5}"#, Some(json!(5))),
        (r#"{"method":"ping","args":[1],"id":"x"}"#, Some(json!("x"))),
        (r#"{"method":"ping","extra":1}"#, None),
        (r#"{"method":"qmp","id":1}"#, Some(json!(1))),
        (r#"{"method":"qmp","args":[5]}"#, None),
        (r#"{"method":"qmp","args":["cont",{"unsafe":1}]}"#, None),
        (r#"{"method":"qmp","args":["cont",{"safe":true}]}"#, None),
        (r#"{"method":"stop","kwargs":{"timeout":-1}}"#, None),
        (r#"{"method":"stop","kwargs":{"timeout":1e300}}"#, None),
        (r#"{"method":"stop","kwargs":{"hard":true}}"#, None),
        (r#"{"method":"keys"}"#, None),
        (r#"{"method":"keys","args":["a"],"kwargs":{"hold":61}}"#, None),
        (r#"{"method":"type","args":["a","b"]}"#, None),
    ] {
        let (answered, error) = *Request::parse(line.as_bytes()).unwrap_err();
        assert_eq!((answered, error.kind), (id, Kind::Usage), "{line}");
    }
    assert!(Request::parse(&[0xff, 0xfe]).is_err());
    assert!(Request::parse("[".repeat(100_000).as_bytes()).is_err());
    for piece in ["[0],", r#"{"":0},"#, "0,", r#""","#] {
        let values = piece.repeat(REQUEST_LIMIT / piece.len() - 20);
        let line = format!(r#"{{"method":"qmp","args":["x",{values}0]}}"#);
        let (_, error) = *Request::parse(line.as_bytes()).unwrap_err();
        assert!(error.message.contains("too many values"), "{piece}: {error}");
    }
}
