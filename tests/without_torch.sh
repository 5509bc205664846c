#!/usr/bin/env bash
# without_torch.sh FOLDER..: the test files of these folders that load no PyTorch: none names it, none is of a room of
# networks and scenes.
set -euo pipefail
grep -rLE '^ *(import|from) (torch|forecasting\.(neural|explanation)|detection)' "$@" --include='test_*.py' |
    grep -vE '/(neural|imagery|training|serving|explanation|worker)/|test_contribute_pages' | sort
