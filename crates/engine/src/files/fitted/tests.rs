use arrow::array::{Int32Array, Int64Array, StringArray};
use arrow::datatypes::{Int32Type, Int64Type};

use super::*;

fn field(name: &str, data_type: DataType, nullable: bool) -> FieldRef {
    Arc::new(Field::new(name, data_type, nullable))
}

fn list_of(item: DataType, nullable: bool) -> DataType {
    DataType::List(field("element", item, nullable))
}

fn places(unfit: &[Unfit]) -> Vec<(usize, &str)> {
    unfit.iter().map(|unfit| (unfit.row, unfit.path.as_str())).collect()
}

#[test]
fn fields_are_found_by_name_and_what_is_lacking_is_null() {
    let sent: ArrayRef = Arc::new(StructArray::new(
        vec![field("y", DataType::Utf8, true), field("x", DataType::Int64, true)].into(),
        vec![
            Arc::new(StringArray::from(vec![Some("a"), None, Some("c")])),
            Arc::new(Int64Array::from(vec![Some(1), Some(2), Some(1 << 40)])),
        ],
        Some(vec![true, false, true].into()),
    ));
    let fields = vec![
        field("x", DataType::Int32, true),
        field("new", DataType::Utf8, true),
        field("y", DataType::Utf8, true),
    ];
    let target = DataType::Struct(fields.into());
    let (array, unfit) = fitted(&sent, &target).unwrap();
    assert_eq!(places(&unfit), [(2, ".x")]);
    assert_eq!(array.data_type(), &target);
    let structs = array.as_struct();
    let valid: Vec<bool> = (0..3).map(|row| structs.is_valid(row)).collect();
    assert_eq!(valid, [true, false, false]);
    assert_eq!(structs.column(0).as_primitive::<Int32Type>().value(0), 1);
    assert_eq!(structs.column(1).logical_null_count(), 3);
    assert_eq!(structs.column(2).as_string::<i32>().value(0), "a");
    let must = vec![field("x", DataType::Int64, true), field("z", DataType::Int64, false)];
    let (_, unfit) = fitted(&sent, &DataType::Struct(must.into())).unwrap();
    assert_eq!(places(&unfit), [(0, ".z"), (2, ".z")]);
}

#[test]
fn what_does_not_fit_in_a_list_is_of_its_row() {
    let sent = ListArray::from_iter_primitive::<Int64Type, _, _>([
        Some(vec![Some(1), None]),
        Some(vec![]),
        None,
        Some(vec![Some(2), Some(1 << 40)]),
    ]);
    let sent: ArrayRef = Arc::new(sent);
    let (array, unfit) = fitted(&sent, &list_of(DataType::Int32, true)).unwrap();
    assert_eq!(places(&unfit), [(3, ".element")]);
    assert_eq!(array.as_list::<i32>().value(0).len(), 2);
    let (_, unfit) = fitted(&sent, &list_of(DataType::Int64, false)).unwrap();
    assert_eq!(unfit, [Unfit { row: 0, path: ".element".into(), why: Why::Absent }]);
    // Rows that begin later begin at their own values.
    let (array, unfit) = fitted(&sent.slice(3, 1), &list_of(DataType::Int64, false)).unwrap();
    assert!(unfit.is_empty());
    assert_eq!(array.as_list::<i32>().value(0).as_primitive::<Int64Type>().value(0), 2);
}

#[test]
fn lists_of_structs_in_maps_are_fitted_through() {
    let inner = DataType::Struct(vec![field("a", DataType::Int32, true)].into());
    let structs = StructArray::from(vec![(
        field("a", DataType::Int32, true),
        Arc::new(Int32Array::from(vec![7, 8])) as ArrayRef,
    )]);
    let lists = ListArray::new(
        field("item", inner, true),
        OffsetBuffer::from_lengths([2, 0]),
        Arc::new(structs),
        None,
    );
    let entries = StructArray::from(vec![
        (
            field("key", DataType::Utf8, false),
            Arc::new(StringArray::from(vec!["k", "l"])) as ArrayRef,
        ),
        (field("value", lists.data_type().clone(), true), Arc::new(lists) as ArrayRef),
    ]);
    let sent: ArrayRef = Arc::new(MapArray::new(
        field("entries", entries.data_type().clone(), false),
        OffsetBuffer::from_lengths([1, 1]),
        entries,
        None,
        false,
    ));
    let wide = DataType::Struct(
        vec![field("a", DataType::Int64, true), field("b", DataType::Utf8, true)].into(),
    );
    let entries = DataType::Struct(
        vec![field("key", DataType::Utf8, false), field("value", list_of(wide, true), true)].into(),
    );
    let target = DataType::Map(field("key_value", entries, false), false);
    let (array, unfit) = fitted(&sent, &target).unwrap();
    assert!(unfit.is_empty(), "{unfit:?}");
    assert_eq!(array.data_type(), &target);
    let lists = array.as_map().values().as_list::<i32>().clone();
    let structs = lists.values().as_struct().clone();
    assert_eq!(structs.column(0).as_primitive::<Int64Type>().values(), &[7, 8]);
}

#[test]
fn what_is_of_another_make_is_named_by_both_types() {
    let sent: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
    let (array, unfit) = fitted(&sent, &list_of(DataType::Int64, true)).unwrap();
    assert_eq!(array.logical_null_count(), 2);
    assert!(matches!(unfit.as_slice(), [Unfit { row: 0, why: Why::Types(..), .. }]), "{unfit:?}");
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1)])]);
    let (_, unfit) = fitted(&(Arc::new(lists) as ArrayRef), &DataType::Utf8).unwrap();
    assert!(matches!(unfit.as_slice(), [Unfit { row: 0, why: Why::Types(..), .. }]), "{unfit:?}");
}

#[test]
fn bytes_of_a_fixed_number_are_digits() {
    let texts = ["00ff", "0-0-F-F", "00f", "00f", "00fg", "", "00ff00"];
    let sent: ArrayRef = Arc::new(StringArray::from(texts.to_vec()));
    let (array, unfit) = fitted(&sent, &DataType::FixedSizeBinary(2)).unwrap();
    assert_eq!(array.as_fixed_size_binary().value(0), [0, 255]);
    assert_eq!(array.as_fixed_size_binary().value(1), [0, 255]);
    let rows: Vec<usize> = unfit.iter().map(|unfit| unfit.row).collect();
    assert_eq!(rows, [2, 3, 4, 5, 6]);
}
