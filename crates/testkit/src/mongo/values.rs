//! Owns the pieces about values: every type of BSON, at its limits, and what nobody writes any more but old databases
//! hold. Types that drivers convert into each other stand next to each other.

use super::bytes::*;
use super::{Piece, insert, insert_values, piece_of};

const NULL: u8 = 0x0a;

pub(super) fn pieces() -> Vec<Piece> {
    vec![
        piece_of("every type", [every_type()]),
        piece_of("integers of two sizes", [integers()]),
        piece_of("floating numbers", [doubles()]),
        piece_of("decimal numbers", [decimals()]),
        piece_of("dates", [insert_values("dates", DATES.map(date))]),
        piece_of("timestamps", [timestamps(), zero_timestamps()]),
        // Servers before 6.0.17 make the time of the insert of it, unless it comes by an update.
        piece_of("an empty timestamp at the top", [before_the_update(), zero_timestamp_at_the_top()]),
        piece_of("regular expressions", [regexes()]),
        piece_of("code", [codes()]),
        piece_of("types of old", [old_types()]),
        piece_of("binary data", [binaries()]),
        piece_of("text", [texts()]),
        piece_of("text that is not UTF-8", [not_utf8()]),
    ]
}

/// One of each, under one another's eyes: by itself, in an array, in a document.
fn every_type() -> Value {
    let all = [
        ("double", double(1.5_f64.to_bits())),
        ("text", text("ship")),
        ("document", document([("a", int(1))])),
        ("array", array([int(1), text("two")])),
        ("binary", binary(0, b"\0\xff")),
        ("undefined", nothing(0x06)),
        ("object id", object_id(0xa5)),
        ("false", boolean(false)),
        ("true", boolean(true)),
        ("date", date(1_700_000_000_000)),
        ("null", nothing(NULL)),
        ("regex", regex("^a", "i")),
        ("pointer", pointer("elsewhere.things", 7)),
        ("code", code("return 1")),
        ("symbol", symbol("word")),
        ("code with scope", code_with_scope("return x", document([("x", int(1))]))),
        ("int", int(32)),
        ("timestamp", timestamp(1_700_000_000, 3)),
        ("long", long(64)),
        ("decimal", decimal(0x3040_0000_0000_0000_0000_0000_0000_0001)),
        ("least", nothing(0xff)),
        ("greatest", nothing(0x7f)),
    ];
    let values = all.iter().map(|(_, value)| value.clone());
    let nested = document([("in a document", document(all.clone())), ("in an array", array(values))]);
    insert_values("every type", [document(all), nested])
}

/// A tool that goes through JSON makes one of two, or a floating number of all.
fn integers() -> Value {
    let ints = [0, 1, -1, i32::MIN, i32::MAX].map(int);
    let longs = [0, 1, -1, i64::MIN, i64::MAX, 1 << 53, (1 << 53) + 1, i64::from(i32::MAX)].map(long);
    insert_values("integers", ints.into_iter().chain(longs))
}

/// NaN has 2^53 bit patterns, of which converters keep one.
fn doubles() -> Value {
    let numbers = [0.0, -0.0, 1.0, 0.1, f64::INFINITY, f64::NEG_INFINITY, f64::MIN, f64::MAX, f64::MIN_POSITIVE];
    let odd = [
        0x0000_0000_0000_0001, // the least above zero
        0x7ff8_0000_0000_0000, // the usual NaN
        0xfff8_0000_0000_0000, // the same, negative
        0x7ff8_dead_beef_cafe, // one with something to say
        0x7ff0_0000_0000_0001, // one that signals
        0x4340_0000_0000_0001, // beyond what an integer of 53 bits holds
    ];
    insert_values("doubles", numbers.map(f64::to_bits).into_iter().chain(odd).map(double))
}

/// By their bits: sign, exponent plus 6176, coefficient. Trailing zeros are part of a decimal's value to its owner
/// (1.0 is not 1.00), and the server compares them as equal.
fn decimals() -> Value {
    let zero = 0x3040_u128 << 112;
    let numbers = [
        zero,
        zero | (1 << 127),                            // -0
        (0x3046_u128 << 112),                         // 0E+3
        (0x303e_u128 << 112) | 10,                    // 1.0
        (0x303c_u128 << 112) | 100,                   // 1.00
        zero | 1,                                     // 1
        (0x3042_u128 << 112) | 1,                     // 1E+1
        (0x303e_u128 << 112) | 1,                     // 0.1
        (0x5ffe_u128 << 112) | (10_u128.pow(34) - 1), // the greatest
        1,                                            // 1E-6176
        (0x3040_u128 << 112) | (10_u128.pow(34) - 1), // thirty-four nines
        0x7800_u128 << 112,                           // infinity
        0xf800_u128 << 112,                           // -infinity
        0x7c00_u128 << 112,                           // NaN
        0xfc00_u128 << 112,                           // -NaN
        0x7e00_u128 << 112,                           // one that signals
        (0x7c00_u128 << 112) | 0xbeef,                // one with something to say
        (0x6c10_u128 << 112) | 5,                     // a coefficient that is too great, which counts as zero
    ];
    insert_values("decimals", numbers.map(decimal))
}

/// Before and after every calendar; the year 10000; around 1970, where a division rounds the other way.
const DATES: [i64; 8] = [i64::MIN, i64::MAX, 0, -1, -999, 253_402_300_800_000, -62_135_596_800_001, 1_700_000_000_123];

fn timestamps() -> Value {
    let some = [timestamp(0, 1), timestamp(1, 0), timestamp(u32::MAX, u32::MAX), timestamp(1 << 31, 1 << 31)];
    insert_values("timestamps", some)
}

/// The server takes a timestamp of zeros for "now" where a document begins, and for itself further in and in `_id`.
fn zero_timestamps() -> Value {
    let zero = timestamp(0, 0);
    let within =
        document([("_id", int(1)), ("v", document([("within", zero.clone()), ("list", array([zero.clone()]))]))]);
    insert("zero timestamps", [within, document([("_id", zero), ("v", int(0))])])
}

fn before_the_update() -> Value {
    insert("zero at the top", [document([("_id", int(1))])])
}

/// No insert leaves it be, so that a restore which inserts changes it; an update does.
fn zero_timestamp_at_the_top() -> Value {
    let change = document([("$set", document([("top", timestamp(0, 0))]))]);
    let update = document([("q", document([("_id", int(1))])), ("u", change)]);
    document([("update", text("zero at the top")), ("updates", array([update]))])
}

fn regexes() -> Value {
    let some = [("", ""), ("^a.*\\.b$", "imsx"), ("ünï", "u"), ("a/b", "xi"), ("(?i)x", "l"), ("\"quoted\"", "s")];
    insert_values("regexes", some.map(|(pattern, options)| regex(pattern, options)))
}

fn codes() -> Value {
    let empty = document::<&str>([]);
    let scopes = [empty.clone(), document([("a", document([("b", timestamp(0, 0))])), ("f", code("return 2"))])];
    let plain = ["", "function (a) { return a + '\u{1f6a2}\\n' }", "\0"].map(code);
    insert_values("code", plain.into_iter().chain(scopes.map(|scope| code_with_scope("function () {}", scope))))
}

/// Types that no driver writes any more, where tools that read by a driver make something else of them.
fn old_types() -> Value {
    let values = [
        nothing(0x06),
        symbol(""),
        symbol("naïve \u{1f6a2}"),
        pointer("db.collection.with.dots", 0xff),
        pointer("", 0),
        array([nothing(0x06), nothing(NULL), nothing(0xff), nothing(0x7f)]),
    ];
    insert_values("old types", values)
}

/// Every subtype that has a meaning, some that have none, and lengths that the meaning does not have. Subtype 2 has its
/// length twice, and the server does not look whether it is true.
fn binaries() -> Value {
    let uuid: [u8; 16] = std::array::from_fn(|index| 0xf0 + index as u8);
    let mut values: Vec<Value> =
        (0..=8).filter(|subtype| *subtype != 2 && *subtype != 6).map(|subtype| binary(subtype, &uuid)).collect();
    values.extend([0x09, 0x0a, 0x7f, 0x80, 0xfe, 0xff].map(|subtype| binary(subtype, &uuid)));
    values.extend([0, 3, 4, 5, 0x80].map(|subtype| binary(subtype, b"")));
    values.extend([binary(3, b"short"), binary(4, b"not sixteen bytes"), binary(0, &[0x5a; 70_000])]);
    let old: [&[u8]; 3] = [b"\x03\0\0\0old", b"\x00\0\0\0", b"\xff\xff\0\0wrong"];
    values.extend(old.map(|bytes| binary(2, bytes)));
    insert_values("binaries", values)
}

fn texts() -> Value {
    let long = "0123456789abcdef".repeat(5_000);
    let some = [
        "",
        "\0",
        "a\0b\0",
        "naïve",
        "\u{1f6a2}\u{10ffff}",
        "e\u{301} \u{e9}",
        "\u{feff}bom",
        "\r\n\t\\\"'",
        "$a.b",
        &long,
    ];
    insert_values("texts", some.map(text))
}

/// The server does not look; old drivers wrote it. A reader that asks for text loses it, or gives up.
fn not_utf8() -> Value {
    let some: [&[u8]; 4] = [b"\xff\xfe", b"na\xefve", b"\xed\xa0\x80", b"\xc0\x80"];
    let mut documents: Vec<Value> =
        (0..).zip(some).map(|(id, bytes)| document([("_id", int(id)), ("v", text(bytes))])).collect();
    documents.push(document([(&b"_id"[..], int(9)), (b"na\xefve", int(1))]));
    insert("not utf-8", documents)
}
