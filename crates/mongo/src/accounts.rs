//! Accounts: users and roles of a database, as far as a restore elsewhere can use them.
//!
//! Owns the document `accounts.json`: the roles that the database defines, the users that it defines, and those of others that have a role on it; and making of them what a server lacks. Promises that hashes of passwords are read only when asked
//! for, and show in no log, error or `Debug`; that what is made may do nothing outside of the database that was restored; and that nobody who is there already becomes another. What the server's own collections look like:
//! <https://www.mongodb.com/docs/manual/reference/system-users-collection/>, <https://www.mongodb.com/docs/manual/reference/system-roles-collection/>.

use crate::connection::Session;
use crate::raw::Kept;
use crate::source::named;
use engine::{Error, GlobalsWanted, Kind, read_versioned};
use mongodb::bson::{Bson, Document, RawDocumentBuf, Uuid, doc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// Name of the document.
pub(crate) const ACCOUNTS: &str = "accounts.json";
/// The newest version of the document that is understood.
const VERSION: u32 = 1;
/// Whoever is let in by others than the server is known by this database.
const EXTERNAL: &str = "$external";

/// Users and roles.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Accounts {
    pub version: u32,
    /// Documents of `admin.system.users`; with `credentials` only where that was asked for.
    pub users: Vec<Secret>,
    /// Documents of `admin.system.roles`.
    pub roles: Vec<Kept>,
}

/// A document with hashes in it, which are worth guarding.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(Kept);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Accounts {
    /// Asks the server for those that have to do with a database.
    ///
    /// # Errors
    /// [`Kind::Refused`] for a user who may not see them.
    pub async fn read(session: &Session, database: &str, wanted: GlobalsWanted) -> Result<Option<Self>, Error> {
        if wanted == GlobalsWanted::No {
            return Ok(None);
        }
        let mut users = doc! {
            "find": "system.users", "filter": {"$or": [{"db": database}, {"roles.db": database}]}, "sort": {"_id": 1},
        };
        if wanted != GlobalsWanted::WithPasswords {
            users.insert("projection", doc! {"credentials": 0});
        }
        let roles = doc! {"find": "system.roles", "filter": {"db": database}, "sort": {"_id": 1}};
        let users = all(session, users).await?.into_iter().map(|user| Secret(Kept(user))).collect();
        let roles = all(session, roles).await?.into_iter().map(Kept).collect();
        Ok(Some(Self { version: VERSION, users, roles }))
    }

    /// Reads the document.
    ///
    /// # Errors
    /// [`Kind::Data`] for what is none; [`Kind::Config`] for a newer version.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        read_versioned(bytes, "the backup's accounts", VERSION)
    }

    /// What of them a server lacks, for a database that was called `from` and is to be `to`.
    ///
    /// # Errors
    /// [`Kind::Refused`] for a user who may not see what is there.
    pub async fn missing(&self, session: &Session, from: &str, to: &str) -> Result<Missing, Error> {
        let mut missing = Missing::default();
        let place = Place { from, to };
        let roles = parsed(self.roles.iter())?;
        let users = parsed(self.users.iter().map(|user| &user.0))?;
        let narrowed_users = users.iter().filter(|user| place.is_narrowed(user)).filter_map(|user| place.user(user));
        let narrowed_roles = roles.iter().filter(|role| place.is_narrowed(role)).map(|role| place.role(role));
        let narrowed: BTreeSet<String> = narrowed_roles.chain(narrowed_users).map(|one| name_of(&one)).collect();
        let roles: Vec<Document> = roles.iter().map(|role| place.role(role)).collect();
        let users: Vec<Document> = users.iter().filter_map(|user| place.user(user)).collect();
        let there = there(session, "rolesInfo", "role", &roles).await?;
        missing.roles = roles.into_iter().filter(|role| !there.contains(&name_of(role))).collect();
        let there = self::there(session, "usersInfo", "user", &users).await?;
        missing.users = users.into_iter().filter(|user| !there.contains(&name_of(user))).collect();
        let all = missing.roles.iter().chain(&missing.users).map(name_of);
        missing.narrowed = all.filter(|name| narrowed.contains(name)).collect();
        Ok(missing)
    }
}

fn parsed<'a>(all: impl Iterator<Item = &'a Kept>) -> Result<Vec<Document>, Error> {
    let unreadable = |e| Error::new(Kind::Data, "an account of the backup cannot be read").because(e);
    all.map(|one| Document::try_from(&one.0).map_err(unreadable)).collect()
}

async fn all(session: &Session, command: Document) -> Result<Vec<RawDocumentBuf>, Error> {
    let answer = session.all("read users and roles", "admin", command).await.map_err(|error| match error.kind {
        Kind::Refused => error.hint("grant the role backup on admin, or leave --globals out"),
        _ => error,
    })?;
    Ok(answer.documents)
}

/// Which of these a server knows, by name.
async fn there(session: &Session, command: &str, of: &str, all: &[Document]) -> Result<BTreeSet<String>, Error> {
    if all.is_empty() {
        return Ok(BTreeSet::new());
    }
    let asked: Vec<Document> = all.iter().map(|one| doc! {of: text(one, of), "db": text(one, "db")}).collect();
    let reply = session.run("look which users and roles are there", "admin", doc! {command: asked}).await;
    let reply = reply.map_err(|error| match error.kind {
        Kind::Refused => error.hint("grant the role restore on admin, or leave --create-missing-roles out"),
        _ => error,
    })?;
    let known = reply.get_array(format!("{of}s")).into_iter().flatten().filter_map(Bson::as_document);
    Ok(known.map(name_of).collect())
}

fn text<'a>(document: &'a Document, member: &str) -> &'a str {
    document.get_str(member).unwrap_or_default()
}

/// As people write it. No database's name has a point in it.
fn name_of(document: &Document) -> String {
    let name = document.get_str("user").unwrap_or_else(|_| text(document, "role"));
    format!("{}.{name}", text(document, "db"))
}

/// From where to where accounts come.
struct Place<'a> {
    from: &'a str,
    to: &'a str,
}

impl Place<'_> {
    fn database<'a>(&'a self, name: &'a str) -> &'a str {
        if name == self.from { self.to } else { name }
    }

    /// Roles on the database, of those that somebody has.
    fn roles(&self, document: &Document) -> Vec<Bson> {
        let all = document.get_array("roles").into_iter().flatten().filter_map(Bson::as_document);
        let ours = all.filter(|role| text(role, "db") == self.from);
        ours.map(|role| Bson::Document(doc! {"role": text(role, "role"), "db": self.to})).collect()
    }

    /// Whether something that somebody may do is left out.
    fn is_narrowed(&self, document: &Document) -> bool {
        let held = document.get_array("roles").map(Vec::len).unwrap_or_default();
        held > self.roles(document).len()
    }

    /// A role as it is made. What it may do concerns its database alone; servers see to that, and this as well.
    fn role(&self, document: &Document) -> Document {
        let is_ours = |privilege: &&Document| {
            privilege.get_document("resource").is_ok_and(|resource| text(resource, "db") == self.from)
        };
        let privileges = document.get_array("privileges").into_iter().flatten().filter_map(Bson::as_document);
        let privileges = privileges.filter(is_ours).map(|privilege| {
            let mut privilege = privilege.clone();
            if let Ok(resource) = privilege.get_document_mut("resource") {
                resource.insert("db", self.to);
            }
            Bson::Document(privilege)
        });
        let mut role = doc! {
            "role": text(document, "role"), "db": self.to, "privileges": privileges.collect::<Vec<_>>(), "roles": self.roles(document),
        };
        keep(&mut role, document, &["authenticationRestrictions"]);
        role
    }

    /// A user as it is made; none of another database who has nothing here.
    fn user(&self, document: &Document) -> Option<Document> {
        let (database, roles) = (self.database(text(document, "db")), self.roles(document));
        if database != self.to && roles.is_empty() {
            return None;
        }
        let mut user = doc! {"user": text(document, "user"), "db": database, "roles": roles};
        keep(&mut user, document, &["credentials", "customData", "authenticationRestrictions"]);
        Some(user)
    }
}

fn keep(to: &mut Document, from: &Document, members: &[&str]) {
    for member in members {
        to.extend(from.get(member).map(|value| ((*member).to_owned(), value.clone())));
    }
}

/// What is to be made.
#[derive(Clone, Default)]
pub(crate) struct Missing {
    roles: Vec<Document>,
    users: Vec<Document>,
    /// Those among them that have more elsewhere at the source.
    narrowed: Vec<String>,
}

impl fmt::Debug for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Missing({} roles, {} users)", self.roles.len(), self.users.len())
    }
}

impl Missing {
    /// Makes them. Returns what the operator should know, also of what failed: what was restored is not worth less for it.
    pub async fn make(self, session: &Session, run: &str) -> Vec<String> {
        let (mut made, mut notes) = (Vec::new(), Vec::new());
        let (hashed, plain): (Vec<Document>, Vec<Document>) =
            self.users.into_iter().partition(|user| user.contains_key("credentials"));
        let mut unusable = plain.iter().filter(|user| text(user, "db") != EXTERNAL).map(name_of).collect::<Vec<_>>();
        for role in &self.roles {
            note(&mut made, &mut notes, name_of(role), make_role(session, role).await);
        }
        // Roles may have each other, in whatever order.
        for role in &self.roles {
            notes.extend(give_roles(session, role).await.err().map(|error| error.what));
        }
        for user in &plain {
            note(&mut made, &mut notes, name_of(user), make_user(session, user).await);
        }
        let (taken_over, failed) = take_over(session, hashed, run).await;
        made.extend(taken_over);
        notes.extend(failed);
        unusable.retain(|name| made.contains(name));
        if !made.is_empty() {
            notes.insert(0, format!("made, because the server lacked them: {}", named(&made)));
        }
        if !unusable.is_empty() {
            notes.push(format!(
                "they have passwords that nobody knows, because the backup has none (--globals-passwords): {}",
                named(&unusable)
            ));
        }
        let narrowed: Vec<String> = self.narrowed.into_iter().filter(|name| made.contains(name)).collect();
        if !narrowed.is_empty() {
            notes.push(format!("what they have on other databases was left out: {}", named(&narrowed)));
        }
        notes
    }
}

fn note(made: &mut Vec<String>, notes: &mut Vec<String>, name: String, done: Result<(), Error>) {
    match done {
        Ok(()) => made.push(name),
        Err(error) => notes.push(error.what),
    }
}

async fn make_role(session: &Session, role: &Document) -> Result<(), Error> {
    let mut command = doc! {"createRole": text(role, "role"), "roles": [], "writeConcern": session.majority()};
    keep(&mut command, role, &["privileges", "authenticationRestrictions"]);
    session.run(&format!("make the role {}", name_of(role)), text(role, "db"), command).await?;
    Ok(())
}

async fn give_roles(session: &Session, role: &Document) -> Result<(), Error> {
    let roles = role.get_array("roles").cloned().unwrap_or_default();
    if roles.is_empty() {
        return Ok(());
    }
    let command = doc! {"grantRolesToRole": text(role, "role"), "roles": roles, "writeConcern": session.majority()};
    session.run(&format!("give roles to the role {}", name_of(role)), text(role, "db"), command).await?;
    Ok(())
}

/// Makes a user without the password that it had.
async fn make_user(session: &Session, user: &Document) -> Result<(), Error> {
    let mut command = doc! {"createUser": text(user, "user"), "writeConcern": session.majority()};
    if text(user, "db") != EXTERNAL {
        command.insert("pwd", format!("{}{}", Uuid::new(), Uuid::new()));
    }
    keep(&mut command, user, &["roles", "customData", "authenticationRestrictions"]);
    session.run(&format!("make the user {}", name_of(user)), text(user, "db"), command).await?;
    Ok(())
}

/// Makes users with the hashes that they had: by the way that the vendor's tool goes, over a collection that is gone afterwards. Returns whom, and what went wrong: the server itself
/// says nothing of a user that it does not make.
async fn take_over(session: &Session, users: Vec<Document>, run: &str) -> (Vec<String>, Vec<String>) {
    let (mut made, mut notes) = (Vec::new(), Vec::new());
    // Whoever was made since by somebody else stays as he is.
    let there = match self::there(session, "usersInfo", "user", &users).await {
        Ok(there) => there,
        Err(error) => return (made, vec![format!("users were not made: {}", error.what)]),
    };
    let users: Vec<Document> = users.into_iter().filter(|user| !there.contains(&name_of(user))).collect();
    if users.is_empty() {
        return (made, notes);
    }
    let collection = format!("longshore.accounts.{run}");
    let done = merge(session, &users, &collection).await;
    let dropped = session.run("drop what users were made of", "admin", doc! {"drop": &collection}).await;
    if let Err(error) = dropped
        && error.kind != Kind::NotFound
    {
        notes.push(format!("admin.{collection} stays and holds hashes of passwords, drop it by hand: {}", error.what));
    }
    let why = done.err().map_or_else(|| "the server's log says why".to_owned(), |error| error.what);
    match self::there(session, "usersInfo", "user", &users).await {
        Ok(there) => {
            let (are, are_not): (Vec<String>, Vec<String>) =
                users.iter().map(name_of).partition(|name| there.contains(name));
            if !are_not.is_empty() {
                notes.push(format!("not made ({why}): {}", named(&are_not)));
            }
            made.extend(are);
        }
        Err(error) => notes.push(format!("whether users were made is not known: {} ({why})", error.what)),
    }
    (made, notes)
}

/// Has the server take users from a collection of its database `admin`.
async fn merge(session: &Session, users: &[Document], collection: &str) -> Result<(), Error> {
    const WHAT: &str = "make users";
    let whole = |user: &Document| {
        let mut entry = doc! {"_id": name_of(user), "userId": Uuid::new()};
        entry.extend(user.clone());
        entry
    };
    let users: Vec<Document> = users.iter().map(whole).collect();
    let insert = doc! {"insert": collection, "documents": users, "writeConcern": session.majority()};
    crate::failure::assert_written(WHAT, &session.run(WHAT, "admin", insert).await?)?;
    let merge = doc! {
        "_mergeAuthzCollections": 1, "tempUsersCollection": format!("admin.{collection}"), "drop": false, "db": "",
        "writeConcern": session.majority(),
    };
    session.run(WHAT, "admin", merge).await.map(drop)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use mongodb::bson::rawdoc;

    const PLACE: Place<'static> = Place { from: "app", to: "staging" };

    #[test]
    fn accounts_follow_their_database_and_get_nothing_elsewhere() {
        let role = doc! {
            "_id": "app.r", "role": "r", "db": "app", "roles": [{"role": "read", "db": "app"}, {"role": "root", "db": "admin"}],
            "privileges": [
                {"resource": {"db": "app", "collection": "t"}, "actions": ["find"]},
                {"resource": {"db": "other", "collection": ""}, "actions": ["find"]},
                {"resource": {"anyResource": true}, "actions": ["anyAction"]},
            ],
        };
        let made = PLACE.role(&role);
        assert_eq!(
            made,
            doc! {
                "role": "r", "db": "staging", "privileges": [{"resource": {"db": "staging", "collection": "t"}, "actions": ["find"]}],
                "roles": [{"role": "read", "db": "staging"}],
            }
        );
        assert!(PLACE.is_narrowed(&role) && !PLACE.is_narrowed(&doc! {"roles": [{"role": "r", "db": "app"}]}));
        let user = |db: &str, on: &str| doc! {"_id": "x", "userId": 1, "user": "u", "db": db, "roles": [{"role": "r", "db": on}], "customData": {"a": 1}};
        assert_eq!(name_of(&PLACE.user(&user("app", "other")).unwrap()), "staging.u");
        let admins = PLACE.user(&user("admin", "app")).unwrap();
        assert_eq!(
            admins,
            doc! {"user": "u", "db": "admin", "roles": [{"role": "r", "db": "staging"}], "customData": {"a": 1}}
        );
        assert_eq!(PLACE.user(&user("admin", "other")), None);
    }

    #[test]
    fn hashes_do_not_show() {
        let user = Secret(Kept(rawdoc! {"credentials": "hash"}));
        let accounts = Accounts { version: 1, users: vec![user], roles: Vec::new() };
        assert!(!format!("{accounts:?}").contains("credentials"));
        let bytes = serde_json::to_vec(&accounts).unwrap();
        assert_eq!(Accounts::parse(&bytes).unwrap().users.len(), 1);
        let newer = serde_json::to_vec(&Accounts { version: 2, ..accounts }).unwrap();
        assert_eq!(Accounts::parse(&newer).unwrap_err().kind, Kind::Config);
        let missing = Missing { users: vec![doc! {"credentials": "hash"}], ..Missing::default() };
        assert!(!format!("{missing:?}").contains("hash"));
    }
}
