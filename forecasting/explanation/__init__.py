"""Why a network says what it says: figures for people, none of them a cause."""
