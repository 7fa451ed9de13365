#!/bin/sh
# Makes the namespace and the Secrets that the manifests name, with random values; what exists stays as it is.
# For a database and a bucket of your own (overlay gpu): BACKEND_STORE_URI, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY.
set -eu
namespace=multibodies

random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

# Values go through a pipe: an argument would show in the list of processes.
secret() { # NAME, then KEY=VALUE lines on stdin
  if kubectl --namespace "$namespace" get secret "$1" >/dev/null 2>&1; then
    cat >/dev/null
    echo "secret/$1 exists, not changed"
    return
  fi
  kubectl --namespace "$namespace" create secret generic "$1" --from-env-file=/dev/stdin
}

kubectl apply -f "$(dirname "$0")/base/namespace.yaml"
password=$(random)
# Both are for each other, so both are made or none: a new password would not open an old database.
if ! kubectl --namespace "$namespace" get secret mlflow >/dev/null 2>&1; then
  secret postgres <<END
password=$password
END
fi
secret mlflow <<END
backend-store-uri=${BACKEND_STORE_URI:-postgresql+psycopg://mlflow:$password@postgres:5432/mlflow}
aws-access-key-id=${AWS_ACCESS_KEY_ID:-$(random)}
aws-secret-access-key=${AWS_SECRET_ACCESS_KEY:-$(random)}
END
