"""What the database holds: people: accounts and sessions."""

from monitor.delivery.several_people import (
    has_several_people,  # return whether a site has several people or channels: shows duty, drills, approvals
)
from monitor.people.queries.second_factor import (
    check_second_factor,  # return whether a login code is valid or the account needs none
    has_second_factor,  # return whether an account requires a login code
)
from monitor.people.queries.sessions import (
    end_sessions,  # end all sessions of a user; returns how many
    is_known_device,  # return whether an account has logged in from the device with a token
    login_code_wait_s,  # return the seconds until the next login code is accepted from an unknown device
    record_login_code,  # record a wrong login code, or reset the count after a correct one
)
from monitor.people.queries.users import (
    IdentityProviderUser,  # a person as described by an identity provider
    add_user,  # create an account
    admit_person,  # return the account of an identity provider's user, created if needed
    find_account,  # return the account of a name, exact or of the same person, or None
    find_linked_account,  # return the account bound to an identity provider's user, or None
    find_user,  # return an account by its exact name, or None
    is_admin_of,  # return whether a name is an open administrator account for a site
    load_users,  # load all accounts by name
    require_account,  # raise RefusedError unless a name is an open account with the role
    require_person,  # raise RefusedError unless an act has a named person and a reason
    require_reason,  # raise RefusedError unless an act has a reason and an operator account
    require_two,  # raise RefusedError unless two independent people perform an act
)

__all__ = [
    "IdentityProviderUser",
    "add_user",
    "admit_person",
    "check_second_factor",
    "end_sessions",
    "find_account",
    "find_linked_account",
    "find_user",
    "has_second_factor",
    "has_several_people",
    "is_admin_of",
    "is_known_device",
    "load_users",
    "login_code_wait_s",
    "record_login_code",
    "require_account",
    "require_person",
    "require_reason",
    "require_two",
]
