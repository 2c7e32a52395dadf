//! Changes to JSON that keep it JSON, to reach the code behind the parser.

use serde_json::{Map, Value, json};

use super::damage::Damage;

/// Repetitions of a list element that fit into a frame.
const REPEATED: usize = 200;

/// Depths of nesting: below and above the limits of parsers.
const DEPTHS: [usize; 3] = [10, 120, 2000];

/// Changes a JSON object into other JSON, which the code behind the parser sees.
pub(super) fn bent(damage: &mut Damage, valid: &Value) -> Value {
    let mut copy = valid.clone();
    for _ in 0..=damage.below(2) {
        bend(damage, &mut copy);
    }
    copy
}

/// Descends at random, and changes the value there.
fn bend(damage: &mut Damage, value: &mut Value) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            let index = damage.below(members.len());
            let name = members.keys().nth(index).expect("it is one of them").clone();
            match damage.below(6) {
                0 => drop(members.remove(&name)),
                1 => add(damage, members),
                2 => rename(damage, members, &name),
                _ => bend(damage, &mut members[&name]),
            }
        }
        Value::Array(elements) if !elements.is_empty() => {
            let index = damage.below(elements.len());
            match damage.below(5) {
                0 => drop(elements.remove(index)),
                1 => *elements = vec![elements[index].clone(); REPEATED],
                2 => elements.insert(index, odd(damage)),
                _ => bend(damage, &mut elements[index]),
            }
        }
        Value::String(text) if damage.below(2) == 0 => {
            *text = String::from_utf8_lossy(&damage.to(text.as_bytes(), &[])).into_owned();
        }
        other => *other = odd(damage),
    }
}

fn add(damage: &mut Damage, members: &mut Map<String, Value>) {
    const NAMES: [&str; 8] = ["uaid", "key", "code", "version", "updates", "broadcasts", "channelID", ""];
    let name = NAMES[damage.below(NAMES.len())];
    drop(members.insert(name.to_owned(), odd(damage)));
}

fn rename(damage: &mut Damage, members: &mut Map<String, Value>, name: &str) {
    let value = members.remove(name).expect("it is there");
    let name = damage.to(name.as_bytes(), &[]);
    drop(members.insert(String::from_utf8_lossy(&name).into_owned(), value));
}

/// Value of an unexpected kind.
fn odd(damage: &mut Damage) -> Value {
    let odd = [
        Value::Null,
        json!(true),
        json!(0),
        json!(-1),
        json!(0.5),
        json!(1e308),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(""),
        json!("\0"),
        json!("\u{202e}\u{10ffff}"),
        json!("x".repeat(10_000)),
        json!([]),
        json!({}),
        json!({"a": {"b": [{}]}}),
        nested(DEPTHS[damage.below(DEPTHS.len())]),
    ];
    odd[damage.below(odd.len())].clone()
}

fn nested(depth: usize) -> Value {
    (0..depth).fold(Value::Null, |inner, _| Value::Array(vec![inner]))
}
