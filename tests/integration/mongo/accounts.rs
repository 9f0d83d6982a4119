//! Users and roles: kept when asked for, made when asked for, and never more than they were.

use super::Back;
use crate::place::{Place, assert_failed, files};
use mongodb::Client;
use mongodb::bson::{Document, doc};
use std::sync::Arc;
use testkit::servers::{MongoServer, TestMongo, mongo, own_mongo};

/// A role, a user of the database who has it, a user of `admin` with more elsewhere, and one who has nothing to do with it.
async fn with_accounts(server: &Arc<MongoServer>) -> TestMongo {
    let db = server.database().await;
    db.run(doc! {"insert": "t", "documents": [{"_id": 1}]}).await;
    db.run(doc! {"insert": "secrets", "documents": [{"_id": 1}]}).await;
    let see = doc! {"resource": {"db": db.name(), "collection": "t"}, "actions": ["find"]};
    let inner = doc! {"resource": {"db": db.name(), "collection": "t"}, "actions": ["insert"]};
    // The first has the second, and comes before it by name.
    db.run(doc! {"createRole": "writer", "privileges": [inner], "roles": []}).await;
    let has = doc! {"role": "writer", "db": db.name()};
    db.run(doc! {"createRole": "clerk", "privileges": [see], "roles": [has]}).await;
    db.run(doc! {"createUser": "ann", "pwd": "anns", "roles": ["clerk"], "customData": {"desk": 7}}).await;
    let near = doc! {"clientSource": ["127.0.0.0/8", "172.16.0.0/12", "10.0.0.0/8", "192.168.0.0/16"]};
    db.run(doc! {"createUser": "near", "pwd": "nears", "roles": ["read"], "authenticationRestrictions": [near]}).await;
    let admin = server.client().await.database("admin");
    let both = vec![doc! {"role": "readWrite", "db": db.name()}, doc! {"role": "readWriteAnyDatabase", "db": "admin"}];
    admin.run_command(doc! {"createUser": bob(&db), "pwd": "bobs", "roles": both}).await.unwrap();
    let elsewhere = vec![doc! {"role": "read", "db": "elsewhere"}];
    admin
        .run_command(doc! {"createUser": format!("{}_carl", db.name()), "pwd": "carls", "roles": elsewhere})
        .await
        .unwrap();
    db
}

fn bob(db: &TestMongo) -> String {
    format!("{}_bob", db.name())
}

/// A client as a user of a database.
async fn as_user(server: &MongoServer, user: &str, password: &str, knows: &str) -> Client {
    let url = server.url_as(user, password, "").replace("authSource=admin", &format!("authSource={knows}"));
    Client::with_uri_str(url).await.unwrap()
}

async fn may(client: &Client, database: &str, command: Document) -> bool {
    client.database(database).run_command(command).await.is_ok()
}

fn backup(place: &Place, db: &TestMongo, how: &str) -> testkit::Job {
    place.backup(&db.url()).env(how, "true")
}

/// Users come back with their passwords and may do in the restored database what they did in the other, and nothing elsewhere.
#[tokio::test]
async fn users_and_roles_come_back_with_their_passwords() {
    let (server, other) = (mongo().await, Arc::new(own_mongo(&[]).await));
    let db = with_accounts(&server).await;
    let place = Place::new().await;
    backup(&place, &db, "LONGSHORE_GLOBALS_PASSWORDS").run().await.success();
    other
        .client()
        .await
        .database("elsewhere")
        .run_command(doc! {"insert": "t", "documents": [{"_id": 1}]})
        .await
        .unwrap();
    let name = format!("{}_back", db.name());
    let restore = || place.restore(&other.root_url(&name));
    let restored = restore().env("LONGSHORE_CREATE_MISSING_ROLES", "true").run().await.success();
    let notes = restored.json()["notes"].to_string();
    for said in ["clerk", "writer", &format!("{name}.ann"), &bob(&db), "on other databases was left out"] {
        assert!(notes.contains(said), "{said}: {notes}");
    }
    assert!(!notes.contains("carl"), "{notes}");
    let ann = as_user(&other, "ann", "anns", &name).await;
    assert!(may(&ann, &name, doc! {"find": "t"}).await);
    assert!(may(&ann, &name, doc! {"insert": "t", "documents": [{"_id": 2}]}).await);
    assert!(!may(&ann, &name, doc! {"find": "secrets"}).await);
    let bob = as_user(&other, &bob(&db), "bobs", "admin").await;
    assert!(may(&bob, &name, doc! {"find": "secrets"}).await);
    assert!(!may(&bob, "elsewhere", doc! {"find": "t"}).await);
    let found = other.client().await.database(&name).run_command(doc! {"usersInfo": 1}).await.unwrap();
    let users = found.get_array("users").unwrap();
    assert_eq!(users[0].as_document().unwrap().get_document("customData").unwrap(), &doc! {"desk": 7});
    let near = doc! {"usersInfo": {"user": "near", "db": &name}, "showAuthenticationRestrictions": true};
    let near = other.client().await.database(&name).run_command(near).await.unwrap();
    assert!(format!("{near}").contains("172.16.0.0/12"), "{near}");
    let left = other.client().await.database("admin").list_collection_names().await.unwrap();
    assert!(!left.iter().any(|name| name.starts_with("longshore")), "{left:?}");
}

/// Nobody who is there becomes another: not by a password, not by a role.
#[tokio::test]
async fn who_is_there_already_stays_as_he_is() {
    let server = mongo().await;
    let db = with_accounts(&server).await;
    let place = Place::new().await;
    backup(&place, &db, "LONGSHORE_GLOBALS_PASSWORDS").run().await.success();
    let back = Back::of(&db);
    let there = server.client().await.database(&back.name);
    there.run_command(doc! {"createUser": "ann", "pwd": "other", "roles": []}).await.unwrap();
    there.run_command(doc! {"createRole": "writer", "privileges": [], "roles": []}).await.unwrap();
    place.restore(&back.url).env("LONGSHORE_CREATE_MISSING_ROLES", "true").run().await.success();
    let ann = as_user(&server, "ann", "other", &back.name).await;
    assert!(may(&ann, &back.name, doc! {"ping": 1}).await && !may(&ann, &back.name, doc! {"find": "t"}).await);
    assert!(!may(&as_user(&server, "ann", "anns", &back.name).await, &back.name, doc! {"ping": 1}).await);
    let writer = there.run_command(doc! {"rolesInfo": "writer", "showPrivileges": true}).await.unwrap();
    let writer = writer.get_array("roles").unwrap()[0].as_document().unwrap();
    assert!(writer.get_array("privileges").unwrap().is_empty(), "{writer}");
    // Bob was there: he got nothing on the new database.
    assert!(!may(&as_user(&server, &bob(&db), "bobs", "admin").await, &back.name, doc! {"usersInfo": 1}).await);
    there.run_command(doc! {"dropAllUsersFromDatabase": 1}).await.unwrap();
    there.run_command(doc! {"dropAllRolesFromDatabase": 1}).await.unwrap();
}

/// G4: hashes are in a backup only where they were asked for, and in no output. Users without one get passwords that nobody knows.
#[tokio::test]
async fn hashes_are_kept_only_where_they_are_asked_for() {
    let server = mongo().await;
    let db = with_accounts(&server).await;
    let command = doc! {"usersInfo": {"user": "ann", "db": db.name()}, "showCredentials": true};
    let ann = db.run(command).await;
    let ann = ann.get_array("users").unwrap()[0].as_document().unwrap().clone();
    let scram = ann.get_document("credentials").unwrap().get_document("SCRAM-SHA-256").unwrap();
    let hash = scram.get_str("storedKey").unwrap().to_owned();
    let place = Place::new().await;
    let made = backup(&place, &db, "LONGSHORE_GLOBALS").run().await.success();
    assert!(!made.report().contains(&hash));
    for file in files(place.folder.path()) {
        let bytes = std::fs::read(&file).unwrap();
        assert!(!bytes.windows(hash.len()).any(|found| found == hash.as_bytes()), "{}", file.display());
    }
    let back = Back::of(&db);
    let restored = place.restore(&back.url).env("LONGSHORE_CREATE_MISSING_ROLES", "true").run().await.success();
    assert!(restored.json()["notes"].to_string().contains("passwords that nobody knows"), "{}", restored.report());
    assert!(!may(&as_user(&server, "ann", "anns", &back.name).await, &back.name, doc! {"ping": 1}).await);
    let there = server.client().await.database(&back.name);
    there.run_command(doc! {"updateUser": "ann", "pwd": "new"}).await.unwrap();
    assert!(may(&as_user(&server, "ann", "new", &back.name).await, &back.name, doc! {"find": "t"}).await);
    there.run_command(doc! {"dropAllUsersFromDatabase": 1}).await.unwrap();
    there.run_command(doc! {"dropAllRolesFromDatabase": 1}).await.unwrap();
}

/// Who may not see or make accounts is told so before anything is done; and none are made that nobody asked for.
#[tokio::test]
async fn accounts_need_to_be_asked_for_and_allowed() {
    let server = mongo().await;
    let db = with_accounts(&server).await;
    let admin = server.client().await.database("admin");
    let owner = format!("{}_owner", db.name());
    let back = Back::of(&db);
    let roles = vec![doc! {"role": "readWrite", "db": db.name()}, doc! {"role": "dbOwner", "db": &back.name}];
    admin.run_command(doc! {"createUser": &owner, "pwd": "pw", "roles": roles}).await.unwrap();
    let place = Place::new().await;
    let as_owner = |database: &str| server.url_as(&owner, "pw", database);
    let refused = place.backup(&as_owner(db.name())).env("LONGSHORE_GLOBALS", "true").run().await;
    assert_failed(refused, 77, "grant the role backup");
    place.assert_no_manifest();
    place.backup(&db.url()).run().await.success();
    let asked = place.restore(&back.url).env("LONGSHORE_CREATE_MISSING_ROLES", "true").run().await;
    assert_failed(asked, 78, "--globals");
    backup(&place, &db, "LONGSHORE_GLOBALS").run().await.success();
    let refused = place.restore(&as_owner(&back.name)).env("LONGSHORE_CREATE_MISSING_ROLES", "true").run().await;
    assert_failed(refused, 77, "grant the role restore");
    assert!(!server.has_database(&back.name).await);
    place.restore(&back.url).run().await.success();
    let found = server.client().await.database(&back.name).run_command(doc! {"usersInfo": 1}).await.unwrap();
    assert!(found.get_array("users").unwrap().is_empty(), "{found}");
}
