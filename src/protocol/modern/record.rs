//! The macros that say each word of the wire once, for both directions.

use super::json::{Fields, Malformed, Object};

/// Some fields of an object that belong together.
pub(super) trait Record: Sized {
    /// Takes the fields out of an object.
    fn take(fields: &mut Fields<'_>) -> Result<Self, Malformed>;

    /// Writes the fields into an object.
    fn put(&self, object: &mut Object<'_>);
}

/// One field of a record. A field is named as on the wire, and how it is written stands before its name:
/// `must` be there; `may` be absent (`None`); a `flag` that is absent when it is false; a `positive` number; a `few` hashes;
/// `flat`: a record whose fields stand beside the others.
macro_rules! take_field {
    (must $field:ident $fields:ident) => {
        $fields.required(stringify!($field))?
    };
    (may $field:ident $fields:ident) => {
        $fields.optional(stringify!($field))?
    };
    (flag $field:ident $fields:ident) => {
        $fields.optional(stringify!($field))?.unwrap_or(false)
    };
    (positive $field:ident $fields:ident) => {
        $fields.required::<u64>(stringify!($field)).and_then(|number| match number {
            0 => Err($crate::protocol::modern::json::Malformed(stringify!($field))),
            number => Ok(number),
        })?
    };
    (few $field:ident $fields:ident) => {
        $fields.required::<Vec<_>>(stringify!($field)).and_then(|items| match items.len() {
            1..=$crate::protocol::modern::MAX_HASHES => Ok(items),
            _ => Err($crate::protocol::modern::json::Malformed(stringify!($field))),
        })?
    };
    (flat $field:ident $fields:ident) => {
        $crate::protocol::modern::record::Record::take($fields)?
    };
}

macro_rules! put_field {
    (may $field:ident $value:expr, $object:ident) => {
        if let Some(value) = $value {
            $object.field(stringify!($field), value);
        }
    };
    (flag $field:ident $value:expr, $object:ident) => {
        if *$value {
            $object.field(stringify!($field), $value);
        }
    };
    (flat $field:ident $value:expr, $object:ident) => {
        $crate::protocol::modern::record::Record::put($value, $object)
    };
    ($mode:ident $field:ident $value:expr, $object:ident) => {
        $object.field(stringify!($field), $value)
    };
}

/// A struct whose fields are those of an object.
macro_rules! record {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $($(#[$doc:meta])* $mode:ident $field:ident: $type:ty),+ $(,)?
        }
    ) => {
        $(#[$meta])*
        pub struct $name {
            $($(#[$doc])* pub $field: $type),+
        }

        impl $crate::protocol::modern::record::Record for $name {
            fn take(
                fields: &mut $crate::protocol::modern::json::Fields<'_>,
            ) -> Result<Self, $crate::protocol::modern::json::Malformed> {
                Ok(Self { $($field: $crate::protocol::modern::record::take_field!($mode $field fields)),+ })
            }

            fn put(&self, object: &mut $crate::protocol::modern::json::Object<'_>) {
                $($crate::protocol::modern::record::put_field!($mode $field &self.$field, object);)+
            }
        }

        #[cfg(test)]
        impl $crate::protocol::modern::tests::sample::Sample for $name {
            fn sample(source: &mut $crate::protocol::modern::tests::sample::Source<'_>) -> Self {
                Self { $($field: $crate::protocol::modern::tests::sample::sample_field!($mode source)),+ }
            }
        }
    };
}

/// An enum without data whose variants are words.
macro_rules! words {
    (
        $(#[$meta:meta])*
        pub enum $name:ident {
            $($(#[$doc:meta])* $variant:ident = $word:literal),+ $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$doc])* $variant),+
        }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word on the wire.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }

            /// The one that a word means.
            pub fn from_word(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

/// An enum of which each variant has the fields of the object that a word of `$type` announces; the words are its own
/// (`by new`), or those of another enum with the same variants.
macro_rules! choice {
    (
        $(#[$meta:meta])*
        pub enum $name:ident
        $(#[$type_meta:meta])*
        by new $type:ident {
            $(
                $(#[$doc:meta])*
                $variant:ident = $word:literal $(($($body:tt)*))? $({ $($fields:tt)* })?
            ),+ $(,)?
        }
    ) => {
        $crate::protocol::modern::record::words! {
            $(#[$type_meta])*
            pub enum $type {
                $($(#[$doc])* $variant = $word),+
            }
        }

        $crate::protocol::modern::record::choice! {
            $(#[$meta])*
            pub enum $name by $type {
                $($(#[$doc])* $variant $(($($body)*))? $({ $($fields)* })?),+
            }
        }
    };
    (
        $(#[$meta:meta])*
        pub enum $name:ident by $type:ident {
            $(
                $(#[$doc:meta])*
                $variant:ident
                $(($body:ident: $record:ty))?
                $({ $($(#[$field_doc:meta])* $mode:ident $field:ident: $field_type:ty),+ $(,)? })?
            ),+ $(,)?
        }
    ) => {
        $(#[$meta])*
        pub enum $name {
            $(
                $(#[$doc])*
                $variant $(($record))? $({ $($(#[$field_doc])* $field: $field_type),+ })?
            ),+
        }

        impl $name {
            /// The word that announces it.
            pub const fn kind(&self) -> $type {
                match self {
                    $(Self::$variant { .. } => $type::$variant),+
                }
            }

            pub(super) fn take(
                kind: $type,
                fields: &mut $crate::protocol::modern::json::Fields<'_>,
            ) -> Result<Self, $crate::protocol::modern::json::Malformed> {
                Ok(match kind {
                    $($type::$variant => Self::$variant
                        $(({ let $body: $record = $crate::protocol::modern::record::Record::take(fields)?; $body }))?
                        $({ $($field: $crate::protocol::modern::record::take_field!($mode $field fields)),+ })?
                    ),+
                })
            }

            #[cfg(test)]
            pub(super) fn sample(
                kind: $type,
                source: &mut $crate::protocol::modern::tests::sample::Source<'_>,
            ) -> Self {
                match kind {
                    $($type::$variant => Self::$variant
                        $(({
                            let $body: $record = $crate::protocol::modern::tests::sample::Sample::sample(source);
                            $body
                        }))?
                        $({ $($field: $crate::protocol::modern::tests::sample::sample_field!($mode source)),+ })?
                    ),+
                }
            }

            pub(super) fn put(&self, object: &mut $crate::protocol::modern::json::Object<'_>) {
                match self {
                    $(Self::$variant $(($body))? $({ $($field),+ })? => {
                        $($crate::protocol::modern::record::Record::put($body, object);)?
                        $($($crate::protocol::modern::record::put_field!($mode $field $field, object);)+)?
                    })+
                }
            }
        }
    };
}

pub(super) use {choice, put_field, record, take_field, words};
