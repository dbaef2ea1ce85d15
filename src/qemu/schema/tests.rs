//! Words typed by a small schema of every kind of type that QEMU's has.

use serde_json::json;

use super::*;
use crate::error::Kind;

fn schema() -> Schema {
    let builtin =
        |name: &str, json: &str| json!({"name": name, "meta-type": "builtin", "json-type": json});
    let member = |name: &str, kind: &str| json!({"name": name, "type": kind});
    let object = |name: &str, members: Vec<Value>| json!({"name": name, "meta-type": "object", "members": members});
    let list =
        |name: &str, of: &str| json!({"name": name, "meta-type": "array", "element-type": of});
    let command = |name: &str, arguments: &str| json!({"name": name, "meta-type": "command", "arg-type": arguments, "ret-type": "0"});
    let all = json!([
        builtin("int", "int"),
        builtin("str", "string"),
        builtin("bool", "boolean"),
        builtin("number", "number"),
        builtin("null", "null"),
        builtin("any", "value"),
        list("[str]", "str"),
        list("[int]", "int"),
        list("[item]", "item"),
        object("0", vec![]),
        object("item", vec![member("key", "str"), member("count", "int")]),
        {"name": "mode", "meta-type": "enum", "values": ["fast", "slow"]},
        {"name": "newer", "meta-type": "enum", "members": [{"name": "a"}, {"name": "b"}]},
        {"name": "word", "meta-type": "alternate", "members": [{"type": "str"}, {"type": "null"}]},
        {"name": "either", "meta-type": "alternate", "members": [{"type": "str"}, {"type": "int"}, {"type": "mode"}]},
        {"name": "node", "meta-type": "alternate", "members": [{"type": "str"}, {"type": "drive"}]},
        {"name": "drive", "meta-type": "object", "tag": "driver",
         "members": [member("driver", "drivers"), member("read-only", "bool")],
         "variants": [{"case": "file", "type": "of-file"}, {"case": "qcow2", "type": "of-qcow2"}]},
        {"name": "drivers", "meta-type": "enum", "values": ["file", "qcow2"]},
        object("of-file", vec![member("filename", "str")]),
        object("of-qcow2", vec![member("file", "node"), member("size", "int")]),
        object("all", vec![
            member("name", "str"), member("up", "bool"), member("size", "int"), member("ratio", "number"),
            member("mode", "mode"), member("newer", "newer"), member("word", "word"),
            member("either", "either"), member("names", "[str]"), member("numbers", "[int]"),
            member("items", "[item]"), member("item", "item"), member("any", "any"),
        ]),
        object("device", vec![member("driver", "str"), member("id", "str")]),
        command("set", "all"),
        command("add", "drive"),
        command("device_add", "device"),
        command("nothing", "0"),
        {"name": "SET", "meta-type": "event", "arg-type": "0"},
    ]);
    Schema::parse(&all.to_string()).unwrap()
}

fn typed(command: &str, words: &[&'static str]) -> Result<Value> {
    let given = words.iter().map(|word| {
        let (key, text) = word.split_once('=').unwrap();
        match key.strip_suffix(':') {
            Some(key) => (key, Word::Json(serde_json::from_str(text).unwrap())),
            None => (key, Word::Text(text)),
        }
    });
    schema().arguments(command, given.collect()).map(Value::Object)
}

#[test]
fn a_word_gets_the_type_that_qemu_wants() {
    for (command, words, expected) in [
        ("set", vec!["name=7", "up=off", "size=7"], json!({"name": "7", "up": false, "size": 7})),
        ("set", vec!["size=18446744073709551615"], json!({"size": u64::MAX})),
        ("set", vec!["size=-1"], json!({"size": -1})),
        ("set", vec!["size=0x10", "ratio=0.5"], json!({"size": 16, "ratio": 0.5})),
        ("set", vec!["mode=slow", "newer=b"], json!({"mode": "slow", "newer": "b"})),
        ("set", vec!["word=null"], json!({"word": "null"})),
        ("set", vec!["word:=null"], json!({"word": null})),
        ("set", vec!["either=7"], json!({"either": 7})),
        ("set", vec!["either=fast"], json!({"either": "fast"})),
        ("set", vec!["either=x"], json!({"either": "x"})),
        ("set", vec!["names=a,b", "numbers="], json!({"names": ["a", "b"], "numbers": []})),
        ("set", vec!["names.0=a,b", "names.1=c"], json!({"names": ["a,b", "c"]})),
        ("set", vec!["item.key=1", "item.count=1"], json!({"item": {"key": "1", "count": 1}})),
        (
            "set",
            vec!["items.0.count=1", "items.1.key=a"],
            json!({"items": [{"count": 1}, {"key": "a"}]}),
        ),
        ("set", vec!["any=1"], json!({"any": "1"})),
        ("set", vec!["any.a.b=1", "any.c:=1"], json!({"any": {"a": {"b": "1"}, "c": 1}})),
        (
            "add",
            vec!["driver=qcow2", "read-only=on", "size=1", "file.driver=file", "file.filename=/x"],
            json!({"driver": "qcow2", "read-only": true, "size": 1,
                   "file": {"driver": "file", "filename": "/x"}}),
        ),
        ("add", vec!["file=n", "driver=qcow2"], json!({"driver": "qcow2", "file": "n"})),
        (
            "device_add",
            vec!["driver=e1000", "mac=52:54:00:00:00:01", "x:=1"],
            json!({"driver": "e1000", "mac": "52:54:00:00:00:01", "x": 1}),
        ),
        ("nothing", vec![], json!({})),
    ] {
        assert_eq!(typed(command, &words).unwrap(), expected, "{command} {words:?}");
    }
}

#[test]
fn what_fits_nothing_is_refused_with_what_would() {
    for (command, words, message, hint) in [
        ("sett", vec!["name=x"], "QEMU has no command \"sett\"", "did you mean \"set\"?"),
        ("SET", vec!["name=x"], "QEMU has no command \"SET\"", "did you mean \"set\"?"),
        ("set", vec!["nmae=x"], "there is no key \"nmae\"", "did you mean \"name\"?"),
        ("set", vec!["up=maybe"], "\"up\" cannot be \"maybe\"", "give true or false"),
        ("set", vec!["size=1.5"], "\"size\" cannot be \"1.5\"", "give a whole number"),
        ("set", vec!["mode=fsat"], "\"mode\" cannot be \"fsat\"", "did you mean \"fast\"?"),
        ("set", vec!["mode=x"], "\"mode\" cannot be \"x\"", "values are: fast, slow"),
        (
            "set",
            vec!["item=x"],
            "\"item\" is an object",
            "give its members, as item.KEY=VALUE, or JSON, as item:={…}",
        ),
        ("set", vec!["item.cuont=1"], "there is no key \"item.cuont\"", "did you mean \"count\"?"),
        ("set", vec!["numbers=1,x"], "\"numbers\" cannot be \"x\"", "give a whole number"),
        ("nothing", vec!["a=1"], "there is no key \"a\"", "there are no keys"),
        (
            "add",
            vec!["driver=file", "size=1"],
            "there is no key \"size\"",
            "keys are: driver, read-only, filename",
        ),
    ] {
        let error = typed(command, &words).unwrap_err();
        assert_eq!((error.kind, error.message.as_str()), (Kind::Usage, message), "{words:?}");
        assert_eq!(error.hint.as_deref(), Some(hint), "{words:?}");
    }
    for words in [
        vec!["filename=/x"],
        vec!["driver=file", "driver=file"],
        vec!["driver.x=1"],
        vec!["read-only=on", "read-only.x=1"],
    ] {
        assert_eq!(typed("add", &words).unwrap_err().kind, Kind::Usage, "{words:?}");
    }
    assert!(typed("set", &["names.1=a"]).unwrap_err().message.contains("next key in it is 0"));
    assert!(typed("set", &["name.x=a"]).unwrap_err().message.contains("no members"));
    assert!(typed("set", &["=a"]).is_err() && typed("set", &["item.=a"]).is_err());
}

#[test]
fn what_is_no_schema_is_refused_and_never_ends_the_program() {
    for text in ["", "{}", "[1]", "null", r#"[{"name":1}]"#] {
        assert!(Schema::parse(text).is_err(), "{text}");
    }
    // Types that contain themselves, and names that lead nowhere.
    let text = json!([
        {"name": "c", "meta-type": "command", "arg-type": "o"},
        {"name": "o", "meta-type": "object", "tag": "t", "members": [{"name": "t", "type": "nowhere"}],
         "variants": [{"case": "x", "type": "o"}]},
        {"name": "d", "meta-type": "command", "arg-type": "a"},
        {"name": "a", "meta-type": "alternate", "members": [{"type": "a"}]},
    ]);
    let schema = Schema::parse(&text.to_string()).unwrap();
    assert!(schema.arguments("c", vec![("t", Word::Text("x"))]).is_ok());
    assert!(schema.arguments("d", vec![("t", Word::Text("x"))]).is_err());
}
