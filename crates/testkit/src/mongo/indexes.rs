//! Owns the pieces about indexes: every kind with every option, and those that other tools are known to lose.

use mongodb::bson::{Bson, Document, doc};

use super::bytes::{Value, array, date, document, double, int, text};
use super::{Piece, create, indexes, insert, piece_of};

pub(super) fn pieces() -> Vec<Piece> {
    vec![
        piece_of("plain indexes", plain()),
        piece_of("odd numbers in keys", [indexes("odd keys", odd_keys())]),
        piece_of("odd names of indexes", [indexes("odd index names", odd_names())]),
        piece_of("unique and sparse indexes", unique()),
        piece_of("indexes on the way to unique", prepared()),
        piece_of("partial indexes", partial()),
        piece_of("hidden indexes", hidden()),
        piece_of("documents that expire later", expiring()),
        piece_of("wildcard indexes", wildcard()),
        piece_of("indexes of text", texts()),
        piece_of("indexes of text, of old", [indexes("old words", old_texts())]),
        piece_of("indexes of places on a sphere", sphere()),
        piece_of("indexes of places on a plane", plane()),
        piece_of("hashed indexes", hashed()),
        piece_of("indexes with a collation", collated()),
        piece_of("indexes of old", [indexes("old indexes", old())]),
        piece_of("as many indexes as may be", [indexes("many indexes", (1..64).map(many))]),
    ]
}

fn index(name: &str, key: Document, options: Document) -> Document {
    let mut index = doc! { "key": key, "name": name };
    index.extend(options);
    index
}

/// Over several fields, downwards, over a path, and over lists: `multi` and `a.b` become multikey by their documents.
fn plain() -> Vec<Value> {
    let list = |id: i32, values: Vec<Value>| document([("_id", int(id)), ("multi", array(values))]);
    let path = array([document([("b", int(1))]), document([("b", int(2))])]);
    vec![
        insert("plain", [list(1, vec![int(1), text("x")]), list(2, vec![]), document([("_id", int(3)), ("a", path)])]),
        indexes(
            "plain",
            [
                index("down", doc! { "a": -1 }, doc! {}),
                // Three fields, not in the order of their names: a map would sort them.
                index("three", doc! { "z": 1, "a": -1, "m": 1 }, doc! {}),
                index("multi", doc! { "multi": 1 }, doc! {}),
                index("path", doc! { "a.b": 1, "_id": -1 }, doc! {}),
                index("background", doc! { "q": 1 }, doc! { "background": true }),
                // Two over the same fields are two indexes when an option tells them apart.
                index("same", doc! { "multi": 1 }, doc! { "sparse": true }),
            ],
        ),
    ]
}

/// The server keeps the number as it was given; only its sign counts.
fn odd_keys() -> Vec<Document> {
    let numbers: [Bson; 7] =
        [1.0.into(), Bson::Int64(1), (-1.0).into(), 0.5.into(), Bson::Int64(-7), 1e10.into(), Bson::Int32(100)];
    let numbered = numbers.into_iter().enumerate();
    numbered.map(|(number, key)| index(&format!("k{number}"), doc! { format!("f{number}"): key }, doc! {})).collect()
}

fn odd_names() -> Vec<Document> {
    let names = [" ", "naïve \u{1f6a2}", "-1", "a.b$c", "\"quoted\"", "new\nline", "_id", "_id_1"];
    let numbered = names.into_iter().enumerate();
    numbered.map(|(number, name)| index(name, doc! { format!("f{number}"): 1 }, doc! {})).collect()
}

/// `false` is kept where it was said. Without the field a document counts as null, of which a unique index has one.
fn unique() -> Vec<Value> {
    let documents = [document([("_id", int(1))]), document([("_id", int(2)), ("u", int(1)), ("s", int(1))])];
    vec![
        insert("unique", documents),
        indexes(
            "unique",
            [
                index("unique", doc! { "u": 1 }, doc! { "unique": true }),
                index("sparse", doc! { "s": 1 }, doc! { "sparse": true, "unique": true }),
                index("neither", doc! { "n": 1 }, doc! { "sparse": false, "unique": false }),
                index("one is yes", doc! { "o": 1 }, doc! { "sparse": 1, "unique": 1.0 }),
            ],
        ),
    ]
}

/// New in 6.0: no new duplicates, and the old ones are let be. A restore that makes such an index before it puts in the
/// documents stops at the second of two.
fn prepared() -> Vec<Value> {
    let same = [1, 2].map(|id| document([("_id", int(id)), ("v", int(7))]));
    let change = doc! { "collMod": "prepared", "index": { "name": "v_1", "prepareUnique": true } };
    vec![insert("prepared", same), indexes("prepared", [index("v_1", doc! { "v": 1 }, doc! {})]), change.into()]
}

/// An empty filter is a filter: tools that ask whether there is anything in it drop it, and the index is another one.
fn partial() -> Vec<Value> {
    let both = [doc! { "w": { "$exists": true } }, doc! { "x": { "$type": "string" } }];
    let filter = doc! { "v": { "$gt": 5, "$lte": 100.0 }, "$and": both.to_vec() };
    let documents = [1, 6].map(|v| document([("_id", int(v)), ("v", int(v))]));
    vec![
        insert("partial", documents),
        indexes(
            "partial",
            [
                index("filter", doc! { "v": 1 }, doc! { "partialFilterExpression": filter, "unique": true }),
                index("empty filter", doc! { "w": 1 }, doc! { "partialFilterExpression": {} }),
                index("null", doc! { "x": 1 }, doc! { "partialFilterExpression": { "x": Bson::Null } }),
            ],
        ),
    ]
}

/// Tools older than hidden indexes make them visible, and queries change their plans.
fn hidden() -> Vec<Value> {
    vec![
        insert("hidden", [document([("_id", int(1)), ("v", int(1))])]),
        indexes(
            "hidden",
            [
                index("hidden", doc! { "v": 1 }, doc! { "hidden": true }),
                index("shown", doc! { "v": -1 }, doc! { "hidden": false }),
            ],
        ),
    ]
}

/// In the year 2100, by an index of zero seconds; much later, by one of as many as there may be; and never, as what
/// has no date in the field does not expire.
fn expiring() -> Vec<Value> {
    let later = [date(4_102_444_800_000), text("no date"), array([date(4_102_444_800_000), int(1)])];
    vec![
        insert("expiring", (0..).zip(later).map(|(id, at)| document([("_id", int(id)), ("at", at)]))),
        indexes(
            "expiring",
            [
                index("at once", doc! { "at": 1 }, doc! { "expireAfterSeconds": 0 }),
                index("late", doc! { "made": 1 }, doc! { "expireAfterSeconds": i32::MAX }),
                index("long", doc! { "seen": 1 }, doc! { "expireAfterSeconds": 3_600_i64 }),
                index("floating", doc! { "left": 1 }, doc! { "expireAfterSeconds": 86_400.0 }),
            ],
        ),
    ]
}

fn wildcard() -> Vec<Value> {
    let only = doc! { "wildcardProjection": { "a": 1, "b.c": 1, "_id": 0 } };
    let but = doc! { "wildcardProjection": { "secret": 0, "_id": 1 } };
    vec![
        insert("wildcard", [document([("_id", int(1)), ("a", document([("b", array([int(1), int(2)]))]))])]),
        indexes(
            "wildcard",
            [
                index("all", doc! { "$**": 1 }, doc! {}),
                index("below", doc! { "a.$**": 1 }, doc! {}),
                index("only", doc! { "$**": 1 }, only),
                index("all but", doc! { "$**": 1 }, but),
            ],
        ),
    ]
}

/// There may be one per collection. The server says what it was made with in other words: the key is `_fts`, and the
/// fields are among the weights.
fn texts() -> Vec<Value> {
    let options = doc! {
        "weights": { "title": 10, "body": 2, "list.of": 99_999 },
        "default_language": "german",
        "language_override": "tongue",
        "textIndexVersion": 3,
    };
    let words = document([("_id", int(1)), ("title", text("Schiffe")), ("tongue", text("none"))]);
    vec![
        insert("words", [words]),
        indexes("words", [index("words", doc! { "before": 1, "title": "text", "body": "text", "after": -1 }, options)]),
        insert("all words", [document([("_id", int(1)), ("any", text("ships"))])]),
        indexes("all words", [index("all", doc! { "$**": "text" }, doc! {})]),
        indexes(
            "no language",
            [index("plain", doc! { "t": "text" }, doc! { "default_language": "none", "weights": { "u": 1 } })],
        ),
    ]
}

fn old_texts() -> Vec<Document> {
    vec![index("old", doc! { "t": "text" }, doc! { "textIndexVersion": 1, "default_language": "english" })]
}

fn sphere() -> Vec<Value> {
    let point = doc! { "_id": 1, "at": { "type": "Point", "coordinates": [9.99, 53.55] } };
    let area = doc! { "_id": 2, "at": { "type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]] } };
    vec![
        insert("sphere", [point.into(), area.into()]),
        indexes(
            "sphere",
            [
                index("usual", doc! { "at": "2dsphere" }, doc! {}),
                index("with more", doc! { "a": -1, "at": "2dsphere", "b": 1 }, doc! {}),
                index("of old", doc! { "was": "2dsphere" }, doc! { "2dsphereIndexVersion": 1 }),
                index(
                    "sizes",
                    doc! { "big": "2dsphere" },
                    doc! { "2dsphereIndexVersion": 2, "finestIndexedLevel": 20, "coarsestIndexedLevel": 2 },
                ),
            ],
        ),
    ]
}

fn plane() -> Vec<Value> {
    let pair = array([double(1.5_f64.to_bits()), int(2)]);
    vec![
        insert("plane", [document([("_id", int(1)), ("at", pair)])]),
        indexes(
            "plane",
            [
                index("usual", doc! { "at": "2d" }, doc! {}),
                index("small", doc! { "in": "2d", "then": 1 }, doc! { "bits": 20, "min": -500.5, "max": 1_000 }),
            ],
        ),
    ]
}

fn hashed() -> Vec<Value> {
    vec![
        insert("hashed", [document([("_id", int(1)), ("h", text("x"))])]),
        indexes(
            "hashed",
            [
                index("hashed", doc! { "h": "hashed" }, doc! {}),
                index("identity", doc! { "_id": "hashed" }, doc! {}),
                index("compound", doc! { "a": 1, "h": "hashed", "b": -1 }, doc! {}),
            ],
        ),
    ]
}

/// Two over the same field with the same options but for the collation. The server fills in what was not said.
fn collated() -> Vec<Value> {
    let collation = |locale: &str, strength: i32| doc! { "collation": { "locale": locale, "strength": strength } };
    let full = doc! { "collation": {
        "locale": "en_US", "caseLevel": false, "caseFirst": "upper", "strength": 3, "numericOrdering": true,
        "alternate": "shifted", "maxVariable": "space", "normalization": true, "backwards": true, "version": "57.1",
    } };
    vec![
        create("collated indexes", doc! {}),
        insert("collated indexes", [document([("_id", int(1)), ("v", text("Å"))])]),
        indexes(
            "collated indexes",
            [
                index("german", doc! { "v": 1 }, collation("de@collation=phonebook", 1)),
                index("turkish", doc! { "v": 1 }, collation("tr", 2)),
                index("none", doc! { "v": 1 }, doc! {}),
                index("full", doc! { "v": 1, "w": 1 }, full),
            ],
        ),
    ]
}

/// Of version 1, which keeps no decimal numbers and no collation.
fn old() -> Vec<Document> {
    vec![
        index("one", doc! { "a": 1 }, doc! { "v": 1 }),
        index("unique one", doc! { "b": 1 }, doc! { "v": 1, "unique": true, "background": true }),
        index("two", doc! { "c": 1 }, doc! { "v": 2 }),
    ]
}

fn many(number: i32) -> Document {
    index(&format!("f{number}_1"), doc! { format!("f{number}"): 1 }, doc! {})
}
