use std::collections::BTreeMap;
use std::sync::OnceLock;

use arrow::array::AsArray;
use arrow::datatypes::Float64Type;
use icecore_core::{OutputKind, Prediction, SnapshotId, TableName, TrainingSet};
use proptest::prelude::*;

use super::*;
use crate::StepSpec;
use crate::tests::{churn, make, params};

/// The files of a model of each algorithm.
fn files() -> &'static [Vec<u8>] {
    static FILES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    FILES.get_or_init(|| {
        let few = params([("n_estimators", 3.0), ("max_depth", 3.0)]);
        let with = |more: [(&str, &str); 2]| {
            let mut given = few.clone();
            given.extend(more.map(|(name, value)| (name.to_owned(), value.into())));
            given
        };
        let classes = with([("objective", "multiclass"), ("categorical", "txn_count")]);
        let counts = with([("objective", "poisson"), ("growth", "leaf")]);
        let none = BTreeMap::new();
        let plain = [
            ("gbdt", &few),
            ("random_forest", &few),
            ("logistic_regression", &none),
            ("gbdt", &classes),
            ("gbdt", &counts),
            ("ridge", &none),
            ("gaussian_nb", &none),
            ("bernoulli_nb", &none),
            ("svc", &none),
        ]
        .map(|(algorithm, given)| fitted(algorithm, given, &churn(300, 1)));
        let near = fitted("knn_regressor", &none, &churn(40, 1));
        let steps = ["impute", "scale", "bin"].map(|step| StepSpec::new(step, none.clone()));
        let encoded = ["one_hot", "target_encode"].map(|step| {
            let column = if step == "one_hot" { "txn_count" } else { "constant" };
            StepSpec::new(step, none.clone()).with_columns([column])
        });
        let steps: Vec<StepSpec> = steps.into_iter().chain(encoded).collect();
        let pipeline = crate::pipeline(&steps, "gbdt", &few).unwrap().fit(&churn(300, 1)).unwrap();
        plain.into_iter().chain([near, pipeline.encode().unwrap()]).collect()
    })
}

fn fitted(
    algorithm: &str,
    given: &BTreeMap<String, crate::ParamValue>,
    set: &TrainingSet,
) -> Vec<u8> {
    make(algorithm, given).fit(set).unwrap().encode().unwrap()
}

/// The file with the checksum that it should have.
fn resealed(mut file: Vec<u8>) -> Vec<u8> {
    let end = file.len() - CHECKSUM_BYTES;
    let checksum = Sha256::digest(&file[..end]);
    file[end..].copy_from_slice(&checksum);
    file
}

/// A file is refused, or it is a model that gives probabilities.
fn check_hostile(file: &[u8]) {
    match decode_model(file) {
        Err(error) => assert!(
            matches!(error.kind(), ErrorKind::DataCorrupt | ErrorKind::Unsupported),
            "{error}"
        ),
        Ok(model) => {
            let set = churn(70, 2);
            if let Ok(predictions) = model.predict(set.features()) {
                let predictions = match predictions.as_fixed_size_list_opt() {
                    Some(classes) => classes.values().as_primitive::<Float64Type>().clone(),
                    None => predictions.as_primitive::<Float64Type>().clone(),
                };
                let is_value = model.signature().output == OutputKind::Value;
                let defined = |p: &f64| (0.0..=1.0).contains(p) || is_value && !p.is_nan();
                assert!(predictions.values().iter().all(defined), "{predictions:?}");
            }
            let _ = model.importance();
            for what in [Prediction::Margin, Prediction::Leaves, Prediction::Contributions] {
                let _ = model.predict_as(set.features(), what);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_file_that_is_cut_off_is_damaged(which in 0..11_usize, cut in any::<prop::sample::Index>()) {
        let file = &files()[which];
        let error = decode_model(&file[..cut.index(file.len())]).unwrap_err();
        prop_assert_eq!(error.kind(), ErrorKind::DataCorrupt);
    }

    #[test]
    fn a_file_in_which_a_byte_has_changed_is_not_read(
        which in 0..11_usize,
        place in any::<prop::sample::Index>(),
        change in 1..=255_u8,
    ) {
        let mut file = files()[which].clone();
        let place = place.index(file.len());
        file[place] ^= change;
        prop_assert!(decode_model(&file).is_err());
    }

    #[test]
    fn a_file_that_was_forged_never_panics(
        which in 0..11_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut file = files()[which].clone();
        for (place, value) in changes {
            let place = place.index(file.len() - CHECKSUM_BYTES);
            file[place] = value;
        }
        check_hostile(&resealed(file));
    }

    #[test]
    fn a_payload_that_was_forged_never_panics(
        which in 0..11_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<[u8; 8]>()), 1..4),
    ) {
        let mut file = files()[which].clone();
        let header = 16 + u32::from_le_bytes(file[12..16].try_into().unwrap()) as usize + 8;
        for (place, value) in changes {
            let place = header + place.index(file.len() - CHECKSUM_BYTES - header - 8);
            file[place..place + 8].copy_from_slice(&value);
        }
        check_hostile(&resealed(file));
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(decode_model(&bytes).is_err());
        prop_assert_eq!(model_hash(&bytes).len(), 64);
    }
}

#[test]
fn a_promise_of_many_trees_allocates_nothing() {
    let file = &files()[0];
    let header = 16 + u32::from_le_bytes(file[12..16].try_into().unwrap()) as usize + 8;
    // After the link, the bases, and the number and the gains of five features.
    let count = header + 1 + 4 + 8 + 4 + 5 * 8;
    let mut forged = file.clone();
    assert_eq!(forged[count..count + 4], 3_u32.to_le_bytes());
    forged[count..count + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    let error = decode_model(&resealed(forged)).unwrap_err();
    assert_eq!(error.to_string(), "the model file is damaged: it has fewer trees than it says");
}

#[test]
fn a_newer_version_is_not_damaged_but_not_supported() {
    let mut file = files()[0].clone();
    file[8] = 3;
    let error = decode_model(&resealed(file)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(error.to_string(), "the model file has version 3, and this icecore reads up to 2");
}

#[test]
fn something_after_the_end_is_damage() {
    let mut file = files()[0].clone();
    file.push(0);
    assert_eq!(decode_model(&file).unwrap_err().kind(), ErrorKind::DataCorrupt);
}

// C28, D4: the hash of a model that was trained again after a compaction.
#[test]
fn the_hash_does_not_cover_where_the_rows_came_from() {
    let pin = |snapshot| icecore_core::PinnedTable {
        table: TableName::parse("ml_training.churn").unwrap(),
        uuid: "0b9a".to_owned(),
        snapshot: SnapshotId::new(snapshot),
    };
    let given = params([("n_estimators", 3.0)]);
    let set = churn(300, 1);
    let before = fitted("gbdt", &given, &set.clone().with_provenance(vec![pin(1)]));
    let after = fitted("gbdt", &given, &set.clone().with_provenance(vec![pin(2)]));
    assert_ne!(before, after, "the file says where the rows came from");
    assert_eq!(model_hash(&before), model_hash(&after));

    let other = fitted("gbdt", &params([("n_estimators", 4.0)]), &set);
    assert_ne!(model_hash(&before), model_hash(&other));
    let others = fitted("gbdt", &given, &churn(300, 2));
    assert_ne!(model_hash(&before), model_hash(&others));
}

// C104: what a file says does not change unnoticed from one version to the next.
#[test]
fn the_header_tells_what_the_model_is() {
    let file = &files()[0];
    let (header, _, version) = parts(file).unwrap();
    assert_eq!(version, VERSION);
    assert_eq!(header.algorithm, "gbdt");
    assert_eq!(header.rows, 300);
    assert_eq!(header.params["max_depth"], "3");
    assert_eq!(header.signature.inputs[0].name, "txn_count");
    assert_eq!(header.signature.inputs[0].data_type, "Float64");
}

#[test]
fn files_of_version_1_are_read_as_ever() {
    let set = churn(300, 1);
    let files: [(&[u8], &str, f64); 3] = [
        (
            include_bytes!("../../fixtures/version_1_gbdt.icm"),
            "fe238e3d6d6ed2da169f97dc273d1d210b98492272c1a887bd577e03f6c35028",
            0.32287358148544426,
        ),
        (
            include_bytes!("../../fixtures/version_1_random_forest.icm"),
            "eeaf065686d81844f2f725d7ee98e2cddc090672b1a8e6fba5fc8a2e3ae5f768",
            0.14367878542543622,
        ),
        (
            include_bytes!("../../fixtures/version_1_logistic_regression.icm"),
            "e12d06cacb799d169dcb60adf2e7c47ad99016ca3c87b97a7a4ab24a8f855717",
            0.05217463686969382,
        ),
    ];
    for (file, hash, first) in files {
        assert_eq!(model_hash(file), hash);
        let model = decode_model(file).unwrap();
        let predictions = model.predict(set.features()).unwrap();
        assert_eq!(predictions.as_primitive::<Float64Type>().value(0), first);
        // It is written as one of this version, and predicts the same.
        let again = decode_model(&model.encode().unwrap()).unwrap();
        assert_eq!(&again.predict(set.features()).unwrap(), &predictions);
    }
    let trees = decode_model(files[0].0).unwrap();
    let error = trees.predict_as(set.features(), Prediction::Contributions).unwrap_err();
    assert_eq!(error.to_string(), "a model of `gbdt` has no contributions");
}
