//! The seam to smartcore: its errors, and its panics, become ours.

use std::panic::{AssertUnwindSafe, catch_unwind};

use icecore_core::{Error, Result};
use smartcore::error::Failed;

/// Runs a fit of smartcore's.
///
/// Its solvers panic where an iteration does not converge. Inputs that are known to do so never
/// come here; for those that are not known, a job must fail rather than a process die.
pub(crate) fn shielded<T>(
    algorithm: &str,
    fit: impl FnOnce() -> std::result::Result<T, Failed>,
) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(fit)) {
        Ok(Ok(model)) => Ok(model),
        Ok(Err(error)) => {
            Err(Error::invalid(format!("`{algorithm}` cannot learn from these rows"))
                .with_source(error.to_string()))
        }
        Err(panic) => {
            let cause = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no message");
            Err(Error::invalid(format!("`{algorithm}` did not converge"))
                .with_source(cause.to_owned())
                .with_help("try other parameters, or the algorithm `gbdt`"))
        }
    }
}

#[cfg(test)]
mod tests {
    use icecore_core::ErrorKind;

    use super::*;

    #[test]
    fn a_panic_of_the_library_is_an_error() {
        let result: Result<()> = shielded("logistic_regression", || panic!("no convergence"));
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "no convergence");
    }
}
