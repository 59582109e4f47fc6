"""What all tables share: their names, and the types that differ between SQLite and PostgreSQL."""

from sqlalchemy import JSON, MetaData

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    },
)

# Python's None is SQL NULL, never the JSON text `null`: "not narrowed" and "narrowed to nothing" must stay
# apart.
Json = JSON(none_as_null=True)
