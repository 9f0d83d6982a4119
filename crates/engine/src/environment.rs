//! Names of environments: which of them nothing is ever restored into.
//!
//! Owns the one rule. Promises that production is known by its usual names and by one misspelt, and that what is said not to be production is not taken
//! for it.

/// What a word of a name begins with, in any case, when nothing is ever restored there: `production`, `eu-prod`, and `prodution`, too.
const PROTECTED: &str = "prod";
/// The same for a whole word.
const LIVE: &str = "live";
/// Words that turn it round: `pre-prod`, `non-production`.
const NOT_YET: [&str; 4] = ["pre", "non", "no", "not"];

/// Whether a database marked with this name is never to be restored into.
#[must_use]
pub fn is_protected_environment(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let mut words = name.split(['-', '_', '.']).peekable();
    if words.peek().is_some_and(|first| NOT_YET.contains(first)) {
        return false;
    }
    words.any(|word| word.starts_with(PROTECTED) || word == LIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn production_is_known_by_other_names_too() {
        for name in ["production", "PROD", "live", "prod-eu", "eu_prod", "prodution", "eu.live"] {
            assert!(is_protected_environment(name), "{name}");
        }
        for name in ["staging", "pre-prod", "preprod", "non_production", "test", "olive", "deliver", "dev"] {
            assert!(!is_protected_environment(name), "{name}");
        }
    }
}
