"""Every size and count that somebody outside controls, with its unit and its reason."""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

BLOB_CHUNK_BYTES: Final = MIB
"""One chunk of a blob on the wire: larger ones cost more and gain nothing (measured)."""

GRPC_MESSAGE_BYTES: Final = 4 * MIB
"""One message of the control plane: a chunk and its frame, with room to spare."""

MANIFEST_BYTES: Final = 256 * KIB
"""An OCI manifest: a few hundred layers."""

DEPLOYMENT_BYTES: Final = 4 * MIB
"""deployment.json: the contract with its reference bins; golden tensors are blobs of their own."""

BLOB_BYTES: Final = 16 * GIB
"""One blob: larger models are split into external data files by their exporters."""

PATCH_BYTES: Final = 256 * MIB
"""A blob for which a patch is made or taken: it and its base are held in memory."""

BUNDLE_FILES: Final = 512
"""Files in one bundle."""

DIRECTOR_DOCUMENT_BYTES: Final = 256 * KIB
"""A director document: a device with a thousand slots still fits."""

WINNERS_TOLD: Final = 1024
"""Winners that come with one director document: it names fewer bundles than that."""

MEASURED_US: Final = 60_000_000
"""One inference, in microseconds: what is told to have taken longer is not believed."""

QUARANTINED_RELEASES: Final = 256
"""Releases in quarantine that one director document names; the newest, when there are more."""

QUARANTINE_REASON_CHARS: Final = 200
"""Of a person's reason, as much as travels to devices."""

ROOT_BYTES: Final = 512 * KIB
"""root.json, with post-quantum keys."""

TARGETS_BYTES: Final = 5 * MIB
"""Metadata of one delegated role: about twenty thousand releases."""

TIMESTAMP_BYTES: Final = 16 * KIB
"""timestamp.json names one file."""

SNAPSHOT_BYTES: Final = 2 * MIB
"""snapshot.json: about ten thousand delegated roles."""

METADATA_ROLES: Final = 10_000
"""Offline roles of which one device may hold metadata: as many as a snapshot names."""

METADATA_FILE_BYTES: Final = 3 * MIB
"""Metadata that a device gives back in one message."""

ROOT_ROTATIONS: Final = 256
"""New roots that a device follows at once: a device that slept for decades."""

METADATA_SECONDS: Final = 60.0
"""One metadata file on the wire: bounds a repository that drips bytes."""

RECEIPT_BYTES: Final = 16 * KIB
"""A receipt: about a kilobyte, with names of full length."""

CSR_BYTES: Final = 16 * KIB
"""A certificate signing request; only its public key is used."""

JOIN_TOKEN_CHARS: Final = 4096
"""A join token as it is pasted."""

JOIN_TOKEN_INFLATED_BYTES: Final = 64 * KIB
"""A join token after decompression: bounds a bomb."""

EVENTS_PER_MESSAGE: Final = 256
"""Events in one message of a session: keeps it under the message limit."""

OUTBOX_EVENTS: Final = 100_000
"""Events kept on a device that nobody hears."""

TELEMETRY_BODY_BYTES: Final = MIB
"""Windows of one batch, encoded: about two thousand ordinary ones."""

WINDOWS_PER_BATCH: Final = 512
"""Windows in one batch: keeps what the manager holds at once small."""

MODELS_PER_WINDOW: Final = 64
"""Slots, releases and arms that one window counts."""

SERIES_PER_BATCH: Final = 1024
"""Different slots, releases, arms and inputs in one batch."""

INPUT_NAME_CHARS: Final = 256
"""The name of an input that is counted: as long as a tensor's may be."""
