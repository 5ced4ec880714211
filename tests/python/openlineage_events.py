"""Reads OpenLineage events as the specification's own client has them: every object becomes one of its
classes, which know their fields, and the events that the client would send are those of the file.

usage: openlineage_events.py EVENTS.jsonl
"""

import json
import sys

from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.generated import (
    column_lineage_dataset,
    dataset_version_dataset,
    output_statistics_output_dataset,
    schema_dataset,
)
from openlineage.client.serde import Serde


def plain(facet):
    """A facet without what every facet has."""
    return {key: value for key, value in facet.items() if key not in ("_producer", "_schemaURL")}


def schema(body):
    fields = [schema_dataset.SchemaDatasetFacetFields(**field) for field in body["fields"]]
    return schema_dataset.SchemaDatasetFacet(fields=fields)


def column_lineage(body):
    def source(input_field):
        transformations = [
            column_lineage_dataset.Transformation(**how) for how in input_field["transformations"]
        ]
        fields = {**input_field, "transformations": transformations}
        return column_lineage_dataset.InputField(**fields)

    fields = {
        name: column_lineage_dataset.Fields(inputFields=[source(i) for i in field["inputFields"]])
        for name, field in body["fields"].items()
    }
    return column_lineage_dataset.ColumnLineageDatasetFacet(fields=fields, dataset=body["dataset"])


FACETS = {
    "schema": schema,
    "columnLineage": column_lineage,
    "version": lambda body: dataset_version_dataset.DatasetVersionDatasetFacet(**body),
    "outputStatistics": lambda body: output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(**body),
}


def facets(found):
    made = {name: FACETS[name](plain(body)) for name, body in found.items()}
    for name, facet in made.items():
        assert facet._schemaURL == found[name]["_schemaURL"], (name, found[name]["_schemaURL"])
    return made


def dataset(kind, found):
    more = {key: facets(value) for key, value in found.items() if key.endswith("Facets")}
    return kind(found["namespace"], found["name"], facets=facets(found["facets"]), **more)


def event(found):
    return RunEvent(
        eventType=RunState(found["eventType"]),
        eventTime=found["eventTime"],
        producer=found["producer"],
        run=Run(runId=found["run"]["runId"], facets=found["run"]["facets"]),
        job=Job(found["job"]["namespace"], found["job"]["name"], facets=found["job"]["facets"]),
        inputs=[dataset(InputDataset, one) for one in found["inputs"]],
        outputs=[dataset(OutputDataset, one) for one in found["outputs"]],
    )


def comparable(value):
    """Without the producer, which the client names itself, and without what is empty."""
    if isinstance(value, dict):
        kept = {key: comparable(one) for key, one in value.items() if key != "_producer"}
        return {key: one for key, one in kept.items() if one not in ({}, [], None)}
    if isinstance(value, list):
        return [comparable(one) for one in value]
    return value


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        events = [json.loads(line) for line in file]
    for found in events:
        sent = comparable(Serde.to_dict(event(found)))
        assert sent == comparable(found), json.dumps([sent, found], indent=1)
    print(json.dumps({"events": len(events), "states": [found["eventType"] for found in events]}))


if __name__ == "__main__":
    main()
