"""The read API `/api/v1`: the same values as the dashboard, as JSON, with an OpenAPI document."""
