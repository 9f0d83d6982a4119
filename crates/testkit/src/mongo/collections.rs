//! Owns the pieces about collections: their names, their kinds, their options, and the views on them.

use mongodb::bson::{Bson, DateTime, Document, doc};

use super::bytes::{Value, date, document, double, int, object_id, text};
use super::{Piece, create, indexes, insert, insert_unchecked, piece_of};

/// Almost fifty years: nothing that is to be deleted some day is deleted during a test. The server refuses more seconds
/// than have passed since 1970 here, and takes them for an index.
const LONG: i64 = 1_500_000_000;

pub(super) fn pieces() -> Vec<Piece> {
    vec![
        piece_of("an empty collection", [create("empty", doc! {})]),
        piece_of("odd names of collections", odd_names()),
        piece_of("a name as long as may be", long_name()),
        piece_of("two names that differ in case", two_cases()),
        piece_of("files in chunks", files()),
        piece_of("capped collections", capped()),
        piece_of("clustered collections", clustered()),
        piece_of("time series", time_series()),
        piece_of("time series that expire", expiring_series()),
        piece_of("a collection with a collation", collated()),
        piece_of("validators", validators()),
        piece_of("images before and after changes", [images(), insert("images", [numbered(1)])]),
        piece_of("a storage engine's own options", [storage(), insert("storage", [numbered(1)])]),
        piece_of("an identity index of old", [old_identity(), insert("old identity", [numbered(1)])]),
        piece_of("views", views()),
        piece_of("views that cannot be read", broken_views()),
        piece_of("stored functions", [functions()]),
    ]
}

fn numbered(id: i32) -> Value {
    document([("_id", int(id)), ("v", text("ship"))])
}

/// Tools that make files of collections, or name them in a shell, need more than the name.
fn odd_names() -> Vec<Value> {
    let names = [
        "with spaces ",
        "dotted.name.here",
        "dots..in.a.row",
        "naïve \u{1f6a2}",
        "e\u{301}",
        "-dash",
        "a/b",
        "up/..",
        "a\\b",
        "\"quoted\" 'twice'",
        "100%25",
        "new\nline",
        "*",
        "a:b?c#d",
        "systematic.system",
        "1",
        "CON",
    ];
    names.into_iter().map(|name| insert(name, [document([("_id", text(name))])])).collect()
}

/// Database, dot and collection may have 255 bytes, of which the database of a test or of its copy has some forty.
fn long_name() -> Vec<Value> {
    let name = "n".repeat(200);
    vec![insert(&name, [numbered(1)]), indexes(&name, [doc! { "key": { "v": 1 }, "name": "i".repeat(300) }])]
}

fn two_cases() -> Vec<Value> {
    vec![insert("Case", [numbered(1)]), insert("case", [numbered(2)])]
}

/// The convention by which drivers keep files.
fn files() -> Vec<Value> {
    let chunk = |id: u8, number: i32| {
        let data = super::bytes::binary(0, &[id; 255]);
        document([("_id", object_id(id)), ("files_id", text("f")), ("n", int(number)), ("data", data)])
    };
    let moment = DateTime::from_millis(0);
    let file = doc! { "_id": "f", "length": 510_i64, "chunkSize": 255, "uploadDate": moment, "filename": "f" };
    vec![
        insert("fs.files", [file.into()]),
        insert("fs.chunks", [chunk(1, 0), chunk(2, 1)]),
        indexes("fs.files", [doc! { "key": { "filename": 1, "uploadDate": 1 }, "name": "filename_1_uploadDate_1" }]),
        indexes("fs.chunks", [doc! { "key": { "files_id": 1, "n": 1 }, "name": "files_id_1_n_1", "unique": true }]),
    ]
}

/// The order of a capped collection is that of its inserts, and its identities need not be. The second one has already
/// lost what it began with; the third is full by its size.
fn capped() -> Vec<Value> {
    let backwards = [9, 3, 7, 1, 5].map(numbered);
    let wrapped = (0..10).map(|id| numbered((id * 7) % 10));
    let full = (0..40).map(|id| document([("_id", int(40 - id)), ("v", text("x".repeat(500)))]));
    vec![
        create("capped", doc! { "capped": true, "size": 1_000_001 }),
        insert("capped", backwards),
        create("capped by number", doc! { "capped": true, "size": 65_536_i64, "max": 4 }),
        insert("capped by number", wrapped),
        indexes("capped by number", [doc! { "key": { "v": 1 }, "name": "v_1" }]),
        create("capped by size", doc! { "capped": true, "size": 4096 }),
        insert("capped by size", full),
        create("capped and empty", doc! { "capped": true, "size": 1 }),
    ]
}

/// Their documents are kept in the order of their identities; there is no index of them.
fn clustered() -> Vec<Value> {
    let index = |name: &str| doc! { "key": { "_id": 1 }, "name": name, "unique": true };
    let expires = doc! { "clusteredIndex": index("by date"), "expireAfterSeconds": LONG };
    let dates = [4_102_444_800_000, 1_700_000_000_000].map(|moment| document([("_id", date(moment)), ("v", int(1))]));
    let mixed = [text("b"), int(1), object_id(3), super::bytes::binary(0, b"\0")];
    vec![
        create("clustered", doc! { "clusteredIndex": index("its own name") }),
        insert("clustered", mixed.map(|id| document([("_id", id), ("v", int(1))]))),
        indexes("clustered", [doc! { "key": { "v": -1 }, "name": "v_-1" }]),
        create("clustered, expiring", expires),
        insert("clustered, expiring", dates),
        create("clustered without a name", doc! { "clusteredIndex": { "key": { "_id": 1 }, "unique": true } }),
    ]
}

/// Measurements are kept in buckets of another collection and put together when read, which is when the server decides
/// about the order of their fields. Identities need not be unique. Those at the end are outside of what fits into the
/// seconds of an ObjectId, of which buckets are made.
fn time_series() -> Vec<Value> {
    let options = doc! { "timeField": "at", "metaField": "of", "granularity": "minutes" };
    let measurement = |id: i32, at: i64, of: Option<Value>, rest: Vec<(&'static str, Value)>| {
        let of = of.map(|of| ("of", of));
        document([("_id", int(id)), ("at", date(at))].into_iter().chain(of).chain(rest))
    };
    let start = 1_700_000_000_000;
    let ship = || Some(document([("ship", text("a")), ("deck", int(2))]));
    let steady = (0..1_200).map(|id| {
        let value = double((f64::from(id) * 0.25).to_bits());
        measurement(id, start + i64::from(id) * 1_000, Some(text("steady")), vec![("v", value)])
    });
    let odd = vec![
        measurement(1, start, ship(), vec![("v", int(1)), ("w", text("x"))]),
        measurement(1, start, ship(), vec![("v", int(1)), ("w", text("x"))]),
        measurement(2, start + 1, ship(), vec![("w", document([("b", int(1)), ("a", int(2))])), ("v", text("text"))]),
        measurement(3, start - 86_400_000, None, vec![]),
        measurement(4, start, Some(super::bytes::nothing(0x0a)), vec![("v", super::bytes::nothing(0x0a))]),
        measurement(5, start, Some(int(1)), vec![("of it", int(1))]),
        measurement(6, -86_400_000, Some(int(1)), vec![("v", int(1))]),
        measurement(7, 4_500_000_000_000, Some(int(1)), vec![("v", int(1))]),
    ];
    vec![
        create("series", doc! { "timeseries": options }),
        insert("series", odd),
        insert("series", steady),
        indexes(
            "series",
            [
                doc! { "key": { "of.ship": 1, "at": -1 }, "name": "by ship" },
                doc! { "key": { "of": 1 }, "name": "of_1", "hidden": true },
            ],
        ),
        create("series without a subject", doc! { "timeseries": { "timeField": "at" } }),
        insert("series without a subject", [measurement(1, start, None, vec![("v", int(1))])]),
        create(
            "empty series",
            doc! { "timeseries": { "timeField": "t", "granularity": "hours" }, "collation": { "locale": "de" } },
        ),
    ]
}

fn expiring_series() -> Vec<Value> {
    let options = doc! { "timeseries": { "timeField": "at", "metaField": "of" }, "expireAfterSeconds": LONG };
    let measurement = document([("at", date(1_700_000_000_000)), ("_id", int(1)), ("of", int(1))]);
    vec![create("expiring series", options), insert("expiring series", [measurement])]
}

/// Indexes take the collection's collation, and one that does not want it says so by `simple`.
fn collated() -> Vec<Value> {
    let collation =
        doc! { "locale": "sv", "strength": 2, "caseLevel": true, "alternate": "shifted", "numericOrdering": true };
    let ids = ["a", "B", "å", "z10", "z9"].map(|id| document([("_id", text(id)), ("v", text(id))]));
    let simple = doc! { "key": { "v": 1 }, "name": "simple", "collation": { "locale": "simple" } };
    let other = doc! { "key": { "v": 1 }, "name": "other", "collation": { "locale": "fr", "backwards": true } };
    let own = doc! { "key": { "v": 1 }, "name": "own" };
    vec![
        create("collated", doc! { "collation": collation }),
        insert("collated", ids),
        indexes("collated", [simple, other, own]),
    ]
}

/// What is in the collections does not all pass: it was there before, or was let past. A restore that validates it
/// stops there.
fn validators() -> Vec<Value> {
    let schema = doc! { "$jsonSchema": {
        "bsonType": "object",
        "required": ["v", "w"],
        "properties": { "v": { "bsonType": "string", "description": "a.b $c" }, "w": { "minimum": 1.0 } },
        "additionalProperties": false,
    } };
    let strict = doc! { "validator": { "v": { "$gt": 10 }, "$expr": { "$eq": ["$v", "$w"] } } };
    let moderate = doc! { "validator": schema, "validationLevel": "moderate", "validationAction": "warn" };
    let off = doc! { "validator": { "v": { "$type": "int" } }, "validationLevel": "off", "validationAction": "error" };
    vec![
        create("moderately valid", moderate),
        insert_unchecked("moderately valid", [numbered(1), document([("_id", int(2))])]),
        create("strictly valid", strict),
        insert_unchecked("strictly valid", [numbered(1)]),
        insert("strictly valid", [document([("_id", int(2)), ("v", int(11)), ("w", int(11))])]),
        create("not validated", off),
        insert("not validated", [numbered(1)]),
        create("valid whatever it holds", doc! { "validator": {} }),
    ]
}

fn images() -> Value {
    create("images", doc! { "changeStreamPreAndPostImages": { "enabled": true } })
}

fn storage() -> Value {
    let engine = doc! { "wiredTiger": { "configString": "block_compressor=zlib" } };
    create("storage", doc! { "storageEngine": engine.clone(), "indexOptionDefaults": { "storageEngine": engine } })
}

/// Indexes of version 1 are from before there were decimal numbers and collations, and are still made when asked for.
fn old_identity() -> Value {
    create("old identity", doc! { "idIndex": { "key": { "_id": 1 }, "name": "_id_", "v": 1 } })
}

/// `a view` sorts before all that it depends on. One has a collation, which its collection must share if that is a
/// view; one is of a collection that is not there; one joins.
fn views() -> Vec<Value> {
    let view =
        |name: &str, of: &str, pipeline: Vec<Document>| create(name, doc! { "viewOn": of, "pipeline": pipeline });
    let french = doc! { "viewOn": "viewed", "pipeline": [{ "$sort": { "v": 1 } }], "collation": { "locale": "fr" } };
    let join = doc! { "$lookup": { "from": "viewed", "localField": "_id", "foreignField": "_id", "as": "twin" } };
    let twice = doc! { "$match": { "$expr": { "$eq": ["$$ROOT._id", { "$literal": "$a.b" }] } } };
    vec![
        insert("viewed", [1, 2, 3].map(numbered)),
        view(
            "z view",
            "viewed",
            vec![doc! { "$match": { "_id": { "$gt": 1 } } }, doc! { "$project": { "_id": 0_i64 } }],
        ),
        view("a view", "z view", vec![doc! { "$addFields": { "more": Bson::Null } }]),
        view("all of it", "viewed", vec![]),
        view("joined", "viewed", vec![join]),
        view("of nothing", "not there", vec![]),
        view("naïve.view \u{1f6a2}", "viewed", vec![twice]),
        create("french view", french.clone()),
        create(
            "a view on a french view",
            doc! { "viewOn": "french view", "pipeline": [], "collation": { "locale": "fr" } },
        ),
    ]
}

/// The server does not run a view when it is made. A tool that reads views to keep their documents stops at these.
fn broken_views() -> Vec<Value> {
    let broken = doc! { "viewOn": "unreadable", "pipeline": [{ "$project": { "v": { "$toInt": "$v" } } }] };
    vec![insert("unreadable", [numbered(1)]), create("broken view", broken)]
}

fn functions() -> Value {
    let one = document([("_id", text("one")), ("value", super::bytes::code("function () { return 1; }"))]);
    let scope = document([("x", int(1))]);
    let old =
        document([("_id", text("old")), ("value", super::bytes::code_with_scope("function () { return x }", scope))]);
    insert("system.js", [one, old])
}
