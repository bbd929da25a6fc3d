"""The built-in corpora, and the corpora of users."""
