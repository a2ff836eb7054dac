//! `spec.secrets.scopes` of a Configuration: which secrets callers of the API may see (runtime
//! §6.5). What components get is not concerned.

use std::collections::HashSet;

use serde::Deserialize;

/// Which secrets callers may see; those of a store that is not named, all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SecretScopes {
    scopes: Vec<Scope>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Scope {
    store_name: String,
    default_access: String,
    allowed_secrets: Vec<String>,
    denied_secrets: Vec<String>,
}

impl SecretScopes {
    /// What in it can never be meant, in the words of the reference.
    pub(super) fn mistake(&self) -> Option<String> {
        let mut stores = HashSet::new();
        self.scopes.iter().find_map(|scope| {
            let Scope {
                store_name: store,
                default_access: access,
                ..
            } = scope;
            if !stores.insert(store) {
                return Some(format!(
                    "{store} storeName is repeated in secrets configuration"
                ));
            }
            let known = ["", "allow", "deny"];
            let is_known = known.iter().any(|known| access.eq_ignore_ascii_case(known));
            (!is_known).then(|| {
                format!("defaultAccess of {store} is {access}; it can be either allow or deny")
            })
        })
    }

    /// Whether callers may see a secret: a list of allowed ones decides alone, then a denial, then
    /// the default.
    pub fn allow(&self, store: &str, secret: &str) -> bool {
        let named = self.scopes.iter().find(|scope| scope.store_name == store);
        let Some(scope) = named else {
            return true;
        };
        let lists = |list: &[String]| list.iter().any(|name| name == secret);
        if !scope.allowed_secrets.is_empty() {
            return lists(&scope.allowed_secrets);
        }
        !lists(&scope.denied_secrets) && !scope.default_access.eq_ignore_ascii_case("deny")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(json: serde_json::Value) -> SecretScopes {
        serde_json::from_value(serde_json::json!({"scopes": json})).unwrap()
    }

    #[test]
    fn the_table_of_the_documentation_holds() {
        for (access, allowed, denied, empty, s1, s2) in [
            // Default, allowed, denied: then whether `other`, `s1` and `s2` may be seen.
            ("deny", &[][..], &[][..], false, false, false),
            ("deny", &["s1"], &[], false, true, false),
            ("deny", &[], &["s1"], false, false, false),
            ("deny", &["s1"], &["s2"], false, true, false),
            ("Allow", &[], &[], true, true, true),
            ("allow", &["s1"], &[], false, true, false),
            ("", &[], &["s1"], true, false, true),
            ("allow", &["s1"], &["s1"], false, true, false),
        ] {
            let scope = serde_json::json!([{
                "storeName": "vault", "defaultAccess": access,
                "allowedSecrets": allowed, "deniedSecrets": denied,
            }]);
            let scopes = scopes(scope);
            let shown = format!("{access} {allowed:?} {denied:?}");
            assert_eq!(scopes.allow("vault", "other"), empty, "{shown}");
            assert_eq!(scopes.allow("vault", "s1"), s1, "{shown}");
            assert_eq!(scopes.allow("vault", "s2"), s2, "{shown}");
            assert!(scopes.allow("another", "s1"));
        }
        assert!(SecretScopes::default().allow("vault", "s1"));
    }

    #[test]
    fn what_cannot_be_meant_is_told() {
        let twice = scopes(serde_json::json!([{"storeName": "a"}, {"storeName": "a"}]));
        assert_eq!(
            twice.mistake().unwrap(),
            "a storeName is repeated in secrets configuration"
        );
        let odd = scopes(serde_json::json!([{"storeName": "a", "defaultAccess": "maybe"}]));
        assert!(odd.mistake().unwrap().contains("maybe"));
        let fine = scopes(serde_json::json!([{"storeName": "a", "defaultAccess": "DENY"}, {}]));
        assert_eq!(fine.mistake(), None);
    }
}
