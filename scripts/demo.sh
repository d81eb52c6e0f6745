#!/usr/bin/env bash
# The whole path on bundled tasks, in under ten minutes on two cores: record traces, fit a
# prior, ask it about a task it has never seen, fine-tune with the answer, and compare with
# plain fine-tuning. Writes to demo-output/; a second call goes on where the first one was.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh

readonly learn_from=uci_sentences_amazon,uci_sentences_imdb,wordnet_noun_category,wordnet_verb_category
readonly never_seen=sms_spam,uci_sentences_yelp,vader_amazon
readonly rows=128 # of training, so that a run takes seconds

readonly out=demo-output prior=demo-output/prior
export METAFT_HOME="$PWD/$out/home" # the user's own store stays as it is
export HF_HUB_OFFLINE=1
unset METAFT_DATA

step() {
    local title=$1 started=$SECONDS
    shift
    printf '\n== %s\n$ metaft %s\n' "$title" "$*"
    .venv/bin/metaft "$@"
    printf -- '-- %d s\n' $((SECONDS - started))
}

step "Fine-tune on four tasks with six recipes each, and learn a prior from what happened" \
    meta-train --tasks "$learn_from" --stages traces,prior \
    --recipes 6 --epochs 3 --sizes "$rows" --out "$prior"
step "Ask the prior about a task that it has never seen" \
    suggest --dataset sms_spam --rows "$rows" --prior "$prior"
step "Fine-tune with what it suggests" \
    finetune --dataset sms_spam --rows "$rows" --prior "$prior" \
    --out "$out/learned" --overwrite
step "Fine-tune as everybody does" \
    finetune --dataset sms_spam --rows "$rows" --plain --out "$out/plain" --overwrite
step "Compare both on three tasks that the prior has never seen" \
    compare --tasks "$never_seen" --methods plain,learned --rows "$rows" --seeds 2 \
    --prior "$prior" --out "$out/comparison"

printf '\nAll of it took %d s. The models, the prior and the report are in %s/.\n' "$SECONDS" "$out"
