//! `map_entries(map)`: DataFusion's fails where the columns of a table know their ids.

use std::any::Any;
use std::sync::Arc;

use arrow::array::{Array, AsArray, ListArray, StructArray};
use arrow::datatypes::{DataType, Field};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

const NAME: &str = "map_entries";

/// The keys and values of a map, as a list of structs.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct MapEntries {
    signature: Signature,
}

impl Default for MapEntries {
    fn default() -> Self {
        Self { signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for MapEntries {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn name(&self) -> &'static str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [DataType::Map(entries, _)] => Ok(DataType::List(Arc::new(Field::new_list_field(
                entries.data_type().clone(),
                true,
            )))),
            _ => plan_err!("{NAME} takes a map"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let DataType::List(item) = args.return_type().clone() else {
            return exec_err!("{NAME} answers a list");
        };
        let (DataType::Struct(fields), [map]) = (item.data_type(), args.args.as_slice()) else {
            return exec_err!("{NAME} takes a map");
        };
        let maps = map.to_array(args.number_rows)?;
        let Some(maps) = maps.as_map_opt() else { return exec_err!("{NAME} takes a map") };
        let entries = maps.entries();
        let columns = entries.columns().to_vec();
        let entries = StructArray::try_new(fields.clone(), columns, entries.nulls().cloned())?;
        let offsets = maps.offsets().clone();
        let lists = ListArray::try_new(item, offsets, Arc::new(entries), maps.nulls().cloned())?;
        Ok(ColumnarValue::Array(Arc::new(lists)))
    }
}
