//! What holds for every row of the tables.

use super::*;
use serde_json::json;

#[test]
fn a_key_stands_once_in_its_table_and_has_a_line_of_help() {
    for table in [DEFINITION, CPU, FIRMWARE, BOOT, DISPLAY, VNC, SPICE, STORAGE, NETWORK] {
        for (place, key) in table.iter().enumerate() {
            assert!(table[..place].iter().all(|other| other.name != key.name), "{}", key.name);
            assert!(!key.help.is_empty() && !key.default.is_empty(), "{}", key.name);
            assert!(key.help.len() <= 72 && !key.help.ends_with('.'), "{}", key.name);
        }
    }
}

#[test]
fn a_flag_gives_one_value_of_a_supported_key() {
    let flags: Vec<String> = flags().map(|key| key.name.replace('_', "-")).collect();
    for flag in ["cpu", "cpu-model", "memory", "stop-timeout", "kernel", "protect"] {
        assert!(flags.iter().any(|known| known == flag), "{flag}");
    }
    for flag in ["name", "storage", "labels", "boot", "args", "arguments"] {
        assert!(flags.iter().all(|known| known != flag), "{flag}");
    }
}

#[test]
fn a_word_becomes_the_type_of_its_key() {
    for (table, key, text, expected) in [
        (DEFINITION, "protect", "on", json!(true)),
        (DEFINITION, "serial", "false", json!(false)),
        (DEFINITION, "cpu", "4", json!(4)),
        (DEFINITION, "memory", "512", json!("512")),
        (DEFINITION, "machine", "true", json!("true")),
        (STORAGE, "serial", "0042", json!("0042")),
        (STORAGE, "bootindex", "1", json!(1)),
    ] {
        assert_eq!(find(table, key).unwrap().value_of(text).unwrap(), expected);
    }
    assert!(find(DEFINITION, "protect").unwrap().value_of("True").is_err());
    assert!(find(DEFINITION, "cpu").unwrap().value_of("-1").is_err());
}
