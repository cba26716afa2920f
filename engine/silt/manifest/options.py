"""Storage options: the keys that delta-rs and object_store know, and which of them hold a secret.

delta-rs ignores an unknown key silently (FACTS), so a typing error would mean "anonymous" or "another
endpoint": unknown keys are refused here.  Keys are those of delta-rs 1.6 and its object_store, lower
case; both take them in either case.
"""

from __future__ import annotations

import re

from silt.manifest.problems import did_you_mean

_CLIENT = """
    allow_http allow_invalid_certificates connect_timeout default_content_type http1_only http2_only
    http2_keep_alive_interval http2_keep_alive_timeout http2_keep_alive_while_idle http2_max_frame_size
    pool_idle_timeout pool_max_idle_per_host proxy_url proxy_ca_certificate proxy_excludes
    randomize_addresses root_certificates timeout user_agent
"""
_RETRY = (
    "max_retries retry_timeout backoff_config.init_backoff backoff_config.max_backoff backoff_config.base"
)
_S3 = """
    access_key_id secret_access_key session_token token region default_region bucket bucket_name endpoint
    endpoint_url endpoint_url_s3 virtual_hosted_style_request unsigned_payload checksum_algorithm
    metadata_endpoint imdsv1_fallback container_credentials_relative_uri container_credentials_full_uri
    container_authorization_token_file web_identity_token_file role_arn role_session_name endpoint_url_sts
    copy_if_not_exists conditional_put skip_signature disable_tagging s3_express request_payer
    server_side_encryption sse_kms_key_id sse_bucket_key_enabled sse_customer_key_base64 allow_http
"""
_S3_ONLY = """
    aws_profile aws_s3_locking_provider aws_s3_allow_unsafe_rename aws_s3_assume_role_arn aws_iam_role_arn
    aws_s3_role_session_name aws_iam_role_session_name aws_force_credential_load aws_endpoint_url_dynamodb
    aws_region_dynamodb aws_access_key_id_dynamodb aws_secret_access_key_dynamodb aws_session_token_dynamodb
    aws_s3_pool_idle_timeout_seconds aws_sts_pool_idle_timeout_seconds
    aws_s3_get_internal_server_error_retries aws_ec2_metadata_disabled aws_ec2_metadata_timeout
    delta_dynamo_table_name delta_dynamo_billing_mode delta_dynamo_max_elapsed_request_time
"""
_AZURE_STORAGE = """
    account_name account_key access_key master_key sas_key sas_token token client_id client_secret tenant_id
    authority_id authority_host use_emulator endpoint
"""
_AZURE = """
    azure_client_id azure_client_secret azure_tenant_id azure_authority_id azure_authority_host
    azure_storage_authority_id azure_storage_authority_host azure_identity_endpoint azure_msi_endpoint
    azure_object_id azure_msi_resource_id azure_federated_token_file azure_use_azure_cli
    azure_use_fabric_endpoint
    azure_container_name azure_skip_signature azure_disable_tagging azure_endpoint azure_allow_http
    azure_fabric_token_service_url azure_fabric_workload_host azure_fabric_session_token
    azure_fabric_cluster_identifier client_id client_secret tenant_id authority_id authority_host
    identity_endpoint msi_endpoint object_id msi_resource_id federated_token_file use_azure_cli
    use_fabric_endpoint container_name skip_signature disable_tagging endpoint account_name account_key
    access_key master_key sas_key sas_token bearer_token token use_emulator
    fabric_token_service_url fabric_workload_host fabric_session_token fabric_cluster_identifier
"""
_GOOGLE = """
    google_service_account service_account google_service_account_path service_account_path
    google_service_account_key service_account_key google_bucket google_bucket_name bucket bucket_name
    google_application_credentials application_credentials google_skip_signature skip_signature
    google_base_url base_url
"""
_LOCAL = "allow_unsafe_rename mount_allow_unsafe_rename"

SCHEMES = {
    "s3": "S3", "s3a": "S3",
    "az": "Azure", "adl": "Azure", "azure": "Azure", "abfs": "Azure", "abfss": "Azure",
    "gs": "Google",
    "file": "local",
}  # fmt: skip
"""URI schemes that a target may have -> the kind of storage behind each."""


def _keys(prefix: str, *lists: str) -> frozenset[str]:
    """The keys of `lists`, and those of every HTTP client, which may bear the storage's prefix."""
    client = _CLIENT.split()
    return frozenset([*" ".join(lists).split(), *_RETRY.split(), *client, *(prefix + key for key in client)])


KNOWN: dict[str, frozenset[str]] = {
    "S3": _keys("aws_", _S3, _S3_ONLY, " ".join(f"aws_{key}" for key in _S3.split())),
    "Azure": _keys("azure_", _AZURE, " ".join(f"azure_storage_{key}" for key in _AZURE_STORAGE.split())),
    "Google": _keys("google_", _GOOGLE),
    "local": frozenset(_LOCAL.split()),
}
"""Kind of storage -> the option keys that mean something to it, lower case."""

BREAKS_PATHS = "\\^|[]%#?"
"""Characters that delta-rs 1.6 cannot have in a table's path (measured): it panics at ^ | [ ] and decodes %;
a backslash divides, and # and ? end the path of a URI."""

UNEXPANDED = re.compile(r"\$\{[^{}]*\}")
"""A variable that is not set, under `--no-env`: what it will say is not known."""

_SECRET_WORDS = ("secret", "key", "token", "sas", "password", "salt")
_PUBLIC = frozenset(
    {"sse_kms_key_id", "sse_bucket_key_enabled", "federated_token_file", "web_identity_token_file"}
)


def storage_of(uri: str) -> str | None:
    """The kind of storage of a URI, `local` for a path, None for a scheme that delta-rs does not open."""
    scheme, separator, _ = uri.partition("://")
    return SCHEMES.get(scheme.lower()) if separator else "local"


def holds_secret(key: str) -> bool:
    """True for an option named like a secret: SECRET, KEY, TOKEN, SAS, PASSWORD (DESIGN 3), a mask's SALT."""
    low = key.lower()
    return any(word in low for word in _SECRET_WORDS) and not any(low.endswith(name) for name in _PUBLIC)


def is_option(key: str) -> bool:
    """True for an option of any storage, in either case."""
    return any(key.lower() in known for known in KNOWN.values())


def complaint(key: str, storage: str) -> tuple[str, str] | None:
    """What is wrong with an option key for this kind of storage, and what to do; None if nothing is."""
    low = key.lower()
    if low in KNOWN[storage]:
        return None
    elsewhere = [other for other in KNOWN if low in KNOWN[other] and other != storage]
    if elsewhere:
        return f"{key} is an option for {' and '.join(elsewhere)}, this target is {storage}", "remove it"
    names = KNOWN[storage] if key == low else {name.upper() for name in KNOWN[storage]}
    guess = did_you_mean(key, sorted(names))
    return "unknown storage option: it would be ignored", guess or "see delta-rs's documentation for the keys"
