//! Columns of a table that have to hold more than they do: fields that structs of files have more,
//! and numbers that are wider.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use icecore_catalog::ColumnType;

/// A column that has to hold more.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Widened {
    /// Its path, such as `amount` or `prices.value`.
    pub column: String,
    /// The type that it has, as Iceberg names it.
    pub from: String,
    /// The type that it is to have.
    pub to: String,
}

/// What columns have to hold more.
#[derive(Debug, Default)]
pub(super) struct Growth {
    /// Paths of the fields that structs lack.
    pub(super) added: Vec<String>,
    pub(super) widened: Vec<Widened>,
}

impl Growth {
    /// The field that holds the values of `stored` and those of the type that a file needs. What
    /// neither can grow into the other stays as it is stored.
    pub(super) fn grow(&mut self, stored: &FieldRef, needed: &DataType, path: &str) -> FieldRef {
        let grown = self.grown(stored.data_type(), needed, path);
        if grown == *stored.data_type() {
            return Arc::clone(stored);
        }
        Arc::new(stored.as_ref().clone().with_data_type(grown))
    }

    fn grown(&mut self, stored: &DataType, needed: &DataType, path: &str) -> DataType {
        match (stored, needed) {
            (DataType::Dictionary(..), _) => stored.clone(),
            (_, DataType::Dictionary(_, needed)) => self.grown(stored, needed, path),
            (DataType::Struct(fields), DataType::Struct(needed)) => {
                DataType::Struct(self.fields(fields, needed, path))
            }
            (
                DataType::List(item),
                DataType::List(needed)
                | DataType::LargeList(needed)
                | DataType::FixedSizeList(needed, _)
                | DataType::ListView(needed)
                | DataType::LargeListView(needed),
            ) => {
                let path = format!("{path}.element");
                DataType::List(self.grow(item, needed.data_type(), &path))
            }
            (DataType::Map(entries, sorted), DataType::Map(needed, _)) => {
                DataType::Map(self.entries(entries, needed, path), *sorted)
            }
            _ => match wider(stored, needed) {
                Some(wide) => {
                    self.widen(stored, &wide, path);
                    wide
                }
                None => stored.clone(),
            },
        }
    }

    fn fields(&mut self, stored: &Fields, needed: &Fields, path: &str) -> Fields {
        let mut fields: Vec<FieldRef> = stored.iter().cloned().collect();
        for needed in needed {
            let path = format!("{path}.{}", needed.name());
            match fields.iter_mut().find(|field| field.name() == needed.name()) {
                Some(field) => *field = self.grow(field, needed.data_type(), &path),
                None => {
                    fields.push(Arc::new(needed.as_ref().clone().with_nullable(true)));
                    self.added.push(path);
                }
            }
        }
        fields.into()
    }

    /// The values of a map may grow; its keys tell entries apart and stay.
    fn entries(&mut self, stored: &FieldRef, needed: &Field, path: &str) -> FieldRef {
        let (DataType::Struct(fields), DataType::Struct(needed)) =
            (stored.data_type(), needed.data_type())
        else {
            return Arc::clone(stored);
        };
        let ([key, value], [_, needed]) = (fields.as_ref(), needed.as_ref()) else {
            return Arc::clone(stored);
        };
        let value = self.grow(value, needed.data_type(), &format!("{path}.value"));
        let entries = DataType::Struct(vec![Arc::clone(key), value].into());
        Arc::new(stored.as_ref().clone().with_data_type(entries))
    }

    fn widen(&mut self, from: &DataType, to: &DataType, path: &str) {
        let name = |data_type: &DataType| {
            ColumnType::of(data_type)
                .map_or_else(|_| data_type.to_string(), |found| found.to_string())
        };
        let (column, to) = (path.to_owned(), name(to));
        match self.widened.iter_mut().find(|known| known.column == column) {
            Some(known) => known.to = to,
            None => self.widened.push(Widened { column, from: name(from), to }),
        }
    }
}

/// The type that holds what both hold, where Iceberg lets a column become it without rewriting
/// files.
fn wider(stored: &DataType, needed: &DataType) -> Option<DataType> {
    match (stored, needed) {
        (DataType::Int32, DataType::Int64 | DataType::UInt32 | DataType::UInt64) => {
            Some(DataType::Int64)
        }
        (DataType::Float32, DataType::Float64) => Some(DataType::Float64),
        (DataType::Decimal128(digits, scale), DataType::Decimal128(needed, needed_scale))
            if scale == needed_scale && needed > digits =>
        {
            Some(DataType::Decimal128(*needed, *scale))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, text: &str) -> FieldRef {
        let data_type = match text {
            "int" => DataType::Int32,
            "long" => DataType::Int64,
            "float" => DataType::Float32,
            "double" => DataType::Float64,
            _ => DataType::Utf8,
        };
        Arc::new(Field::new(name, data_type, false))
    }

    fn structs(fields: &[(&str, &str)]) -> DataType {
        DataType::Struct(fields.iter().map(|(name, text)| field(name, text)).collect())
    }

    #[test]
    fn columns_grow_inside_of_others_and_never_shrink() {
        let stored = structs(&[("x", "int"), ("y", "long"), ("z", "float"), ("t", "text")]);
        let needed =
            structs(&[("new", "int"), ("t", "int"), ("z", "double"), ("y", "int"), ("x", "long")]);
        let list = |item: &DataType| {
            let item = Field::new_list_field(item.clone(), true);
            Arc::new(Field::new("l", DataType::List(Arc::new(item)), true))
        };
        let mut growth = Growth::default();
        let grown = growth.grow(&list(&stored), list(&needed).data_type(), "l");
        assert_eq!(growth.added, ["l.element.new"]);
        let widened: Vec<String> =
            growth.widened.iter().map(|w| format!("{} {} {}", w.column, w.from, w.to)).collect();
        assert_eq!(widened, ["l.element.z float double", "l.element.x int long"]);
        let DataType::List(item) = grown.data_type() else { panic!("{grown}") };
        let DataType::Struct(fields) = item.data_type() else { panic!("{item}") };
        let types: Vec<String> = fields
            .iter()
            .map(|f| format!("{} {} {}", f.name(), f.data_type(), f.is_nullable()))
            .collect();
        let expected =
            ["x Int64 false", "y Int64 false", "z Float64 false", "t Utf8 false", "new Int32 true"];
        assert_eq!(types, expected);
    }

    #[test]
    fn decimals_get_digits_and_keep_their_scale() {
        let cents = DataType::Decimal128(9, 2);
        let wide = DataType::Decimal128(12, 2);
        assert_eq!(wider(&cents, &wide), Some(wide.clone()));
        assert_eq!(wider(&wide, &cents), None);
        assert_eq!(wider(&cents, &DataType::Decimal128(12, 3)), None);
    }
}
