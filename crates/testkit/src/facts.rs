//! Owns what a catalog says about a database's objects, by name: for comparing two databases that should be the same.
//! It looks where `pg_dump --schema-only` does not: values of sequences, whether a materialized view is filled,
//! whether a constraint was validated, which index a table is clustered on. Refuses oids: they differ rightly.

use crate::sql::{self, Row};

/// Objects of users, for a query whose relation is `c` and whose schema is `n`.
const USERS: &str = "n.nspname !~ '^pg_' and n.nspname <> 'information_schema'";

/// Queries with one question each; what a server notes for itself (`pg_attver` among a column's options, from 17.12 on) is no answer; `$USERS` stands for the condition above.
const QUESTIONS: &[&str] = &[
    "select 'relation', c.oid::regclass::text, c.relkind::text, c.relpersistence::text, c.relispopulated::text, \
     c.relrowsecurity::text, c.relforcerowsecurity::text, c.relreplident::text, c.relispartition::text, c.reloptions::text, \
     c.relowner::regrole::text, (select am.amname::text from pg_am am where am.oid = c.relam), \
     pg_get_partkeydef(c.oid), pg_get_expr(c.relpartbound, c.oid) \
     from pg_class c join pg_namespace n on n.oid = c.relnamespace \
     left join pg_index i on i.indexrelid = c.oid where $USERS and (c.relkind = 'I' or coalesce(i.indisvalid, true))",
    "select 'column', c.oid::regclass::text, a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull::text, \
     a.attidentity::text, a.attgenerated::text, a.attislocal::text, a.attinhcount::text, a.attstorage::text, \
     a.attcompression::text, nullif(a.attstattarget, -1)::text, \
     nullif(array(select o from unnest(a.attoptions) o where o !~ '^pg_attver=')::text, '{}'), a.attfdwoptions::text, \
     a.attcollation::regcollation::text, pg_get_expr(d.adbin, d.adrelid) from pg_attribute a \
     join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace \
     left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum left join pg_index i on i.indexrelid = c.oid \
     where $USERS and a.attnum > 0 and not a.attisdropped and (c.relkind = 'I' or coalesce(i.indisvalid, true))",
    "select 'index', i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid), i.indisunique::text, \
     i.indisprimary::text, i.indisexclusion::text, i.indimmediate::text, i.indisclustered::text, i.indisreplident::text \
     from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace \
     where $USERS and (c.relkind = 'I' or i.indisvalid)",
    "select 'constraint', o.conname::text, o.conrelid::regclass::text, o.contypid::regtype::text, \
     pg_get_constraintdef(o.oid), o.convalidated::text, o.condeferrable::text, o.condeferred::text, \
     o.conislocal::text, case o.contype when 'c' then o.connoinherit end::text from pg_constraint o join pg_namespace n on n.oid = o.connamespace where $USERS",
    "select 'trigger', t.tgrelid::regclass::text, t.tgname::text, t.tgenabled::text, pg_get_triggerdef(t.oid) \
     from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace \
     where $USERS and not t.tgisinternal",
    "select 'rule', r.ev_class::regclass::text, r.rulename::text, r.ev_enabled::text, pg_get_ruledef(r.oid) \
     from pg_rewrite r join pg_class c on c.oid = r.ev_class join pg_namespace n on n.oid = c.relnamespace where $USERS",
    "select 'event trigger', e.evtname::text, e.evtevent::text, e.evtenabled::text, e.evttags::text, \
     e.evtfoid::regproc::text from pg_event_trigger e",
    "select 'statistics', n.nspname::text, s.stxname::text, pg_get_statisticsobjdef(s.oid), \
     nullif(s.stxstattarget, -1)::text from pg_statistic_ext s join pg_namespace n on n.oid = s.stxnamespace where $USERS",
    "select 'comment', (pg_identify_object(d.classoid, d.objoid, d.objsubid)).type, \
     (pg_identify_object(d.classoid, d.objoid, d.objsubid)).identity, d.description from pg_description d \
     where d.objoid >= 16384 or d.classoid = 'pg_namespace'::regclass",
    "select 'grant', c.oid::regclass::text, a.grantor::regrole::text, coalesce(nullif(a.grantee, 0)::regrole::text, 'public'), \
     a.privilege_type, a.is_grantable::text from pg_class c join pg_namespace n on n.oid = c.relnamespace, \
     aclexplode(c.relacl) a where $USERS",
    "select 'default grant', d.defaclrole::regrole::text, d.defaclnamespace::regnamespace::text, d.defaclobjtype::text, \
     coalesce(nullif(a.grantee, 0)::regrole::text, 'public'), a.privilege_type, a.is_grantable::text \
     from pg_default_acl d, aclexplode(d.defaclacl) a",
];

/// Everything the catalog says about the objects of users, each object a row, sorted. Equal databases give equal rows.
///
/// # Panics
/// When a query fails.
pub async fn facts(url: &str) -> Vec<Row> {
    let client = sql::connect(url).await;
    // Names are written with their schema when nothing is on the path.
    client.batch_execute("set search_path = ''; set quote_all_identifiers = off").await.expect("pin the settings");
    let mut all = Vec::new();
    for question in QUESTIONS {
        all.extend(sql::rows_on(&client, &question.replace("$USERS", USERS)).await);
    }
    let sequences = "select format('%I.%I', n.nspname, c.relname) from pg_class c \
                     join pg_namespace n on n.oid = c.relnamespace where c.relkind = 'S' and $USERS";
    for sequence in sql::rows_on(&client, &sequences.replace("$USERS", USERS)).await {
        let name = sequence[0].clone().unwrap_or_default();
        let stands = format!("select 'sequence', '{}', last_value, is_called from {name}", name.replace('\'', "''"));
        all.extend(sql::rows_on(&client, &stands).await);
    }
    all.sort();
    all
}

/// Fails unless two databases have the same facts, and shows the first few that differ.
///
/// # Panics
/// When they differ, or a query fails.
pub async fn assert_same_facts(back: &str, there: &str) {
    let (back, there) = (facts(back).await, facts(there).await);
    let shown = |row: &Row| row.iter().map(|value| value.as_deref().unwrap_or("-")).collect::<Vec<_>>().join(" | ");
    let only_in = |some: &[Row], other: &[Row]| -> Vec<String> {
        some.iter().filter(|row| other.binary_search(row).is_err()).take(8).map(shown).collect()
    };
    let (missing, added) = (only_in(&there, &back), only_in(&back, &there));
    assert!(missing.is_empty() && added.is_empty(), "missing: {missing:#?}\nadded: {added:#?}");
    assert_eq!(back.len(), there.len(), "the same facts, one of them twice");
}
