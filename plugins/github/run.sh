# The action's one step: has ci-env in a virtual environment of its own, made once per runner, and becomes it.
# So the signals by which GitHub cancels a job reach ci-env itself.
set -euo pipefail

fail() { echo "::error title=ci-env::$1"; exit "$2"; }

python=$(command -v "$CI_ENV_INPUT_PYTHON") || fail "there is no $CI_ENV_INPUT_PYTHON here; name another in the input 'python'" 3
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
  || fail "$python is Python $version, and ci-env needs 3.11 or newer: add actions/setup-python before this step" 3

source=$(cd "$GITHUB_ACTION_PATH/../.." && pwd)
state=$(git -C "$source" rev-parse --verify --quiet HEAD 2>/dev/null || cat "$source"/pyproject.toml "$source"/CHANGELOG.md)
environment="${RUNNER_TEMP:-/tmp}/ci-env-$(printf '%s' "$source $version $state" | sha256sum | cut -c1-16)"
if [[ ! -e $environment/complete ]]; then
  echo "::group::Install ci-env"
  "$python" -m venv --clear "$environment"
  "$environment/bin/pip" install --quiet --disable-pip-version-check "$source"
  touch "$environment/complete"
  echo "::endgroup::"
fi

restriction=/proc/sys/kernel/apparmor_restrict_unprivileged_userns
if ((EUID)) && [[ $CI_ENV_INPUT_USERNS != fail && -e $restriction && $(<"$restriction") == 1 ]]; then
  if ! sudo -n sysctl --quiet -w kernel.apparmor_restrict_unprivileged_userns=0 && [[ $CI_ENV_INPUT_USERNS == sudo ]]; then
    fail "sudo cannot lift the restriction of user namespaces here" 3
  fi
fi

arguments=(run --file "$CI_ENV_INPUT_FILE")
[[ -z $CI_ENV_INPUT_IMAGE ]] || arguments+=(--image "$CI_ENV_INPUT_IMAGE")
[[ $CI_ENV_INPUT_LOCKED != true ]] || arguments+=(--locked)
read -ra more <<<"${CI_ENV_INPUT_ARGS//$'\n'/ }"
read -ra jobs <<<"${CI_ENV_INPUT_JOBS//$'\n'/ }"
unset "${!CI_ENV_INPUT_@}"
exec "$environment/bin/ci-env" "${arguments[@]}" ${more[@]+"${more[@]}"} -- ${jobs[@]+"${jobs[@]}"}
