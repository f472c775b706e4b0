"""The registry of models in memory, for the tests of what asks it."""

# ruff: noqa: D102 (each method is described where it is overridden)

from training.tracking import CHALLENGER, Tracking, Version


class Shelf(Tracking):
    """A registry in memory: MLflow takes half a second a version, and one test asks it."""

    def __init__(self) -> None:
        self.versions: list[Version] = []
        self.aliases: dict[tuple[str, str], Version] = {}
        self.tags: dict[Version, dict[str, str]] = {}
        self.why: dict[str, dict[str, object]] = {}

    def record(self, question, parameters, metrics, bundle, files) -> Version:
        version = Version(question, str(len(self.versions) + 1), bundle.name)
        self.versions.append(version)
        self.alias(version, CHALLENGER)
        self.why.pop(question, None)
        return version

    def abstain(self, question, why) -> None:
        self.why[question] = why
        self.withdraw(question, CHALLENGER)

    def abstention(self, question):
        return self.why.get(question)

    def alias(self, version, alias) -> None:
        self.aliases[version.question, alias] = version

    def tag(self, version, tags) -> None:
        self.tags[version] = tags

    def withdraw(self, question, alias) -> None:
        self.aliases.pop((question, alias), None)

    def find(self, question, alias):
        return self.aliases.get((question, alias))

    def version_of(self, question, bundle_sha256):
        mine = [version for version in self.versions if version.question == question]
        return next((v for v in reversed(mine) if v.bundle_sha256 == bundle_sha256), None)
