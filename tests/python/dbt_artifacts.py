"""Reads the artifacts of a run as dbt's tools do, and prints what it found."""

import json
import pathlib
import sys

from dbt_artifacts_parser.parser import parse_manifest, parse_run_results

target = pathlib.Path(sys.argv[1])
manifest = parse_manifest(manifest=json.loads((target / "manifest.json").read_text()))
results = parse_run_results(run_results=json.loads((target / "run_results.json").read_text()))
print(
    json.dumps(
        {
            "manifest": type(manifest).__name__,
            "run_results": type(results).__name__,
            "nodes": len(manifest.nodes),
            "results": {result.unique_id: str(getattr(result.status, "value", result.status)) for result in results.results},
            "depends_on": manifest.nodes["model.churn.user_features"].depends_on.nodes,
        }
    )
)
