#!/usr/bin/env bash
# Compares the shipped prior's suggestion with its rivals in fresh runs, on tasks that version 0.3.0
# had not seen (0.6.0 knows fourteen of them): docs/prior.md holds the protocol. What is stored is never made again, so after any end
# the same call goes on.
#
#   METAFT_DATA=path/of/the/mirror scripts/compare_fresh.sh [--time-limit 2h] [options of compare]
#
# STORE is the URL of the trace store, OUT the folder of the reports, RUNS the file of the runs: what it
# holds is not made again. A time limit counts for each of the steps.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh
: "${METAFT_DATA:?names no mirror of the datasets, see docs/installation.md}"

readonly store=${STORE:-sqlite:///$PWD/runs/fresh.db} out=${OUT:-runs/fresh}
readonly runs=${RUNS:-priors/recorded/fresh.parquet} options=("$@")
mkdir -p runs
if [ -f "$runs" ]; then
    .venv/bin/metaft traces import "$runs" --store "$store"
fi

# By the rule of the protocol; those with the shortest texts first.
readonly twelve=conll2003_entity_typing,tweet_eval/stance_hillary,election_tweets_author,isear_psychexp,fortunes_category,glue/qqp,hedge_conll2010,subj,entity_matching/amazon_google,ag_news,chemprot,dbpedia_14
readonly twenty=$twelve,sciie_relation,rte1,glue/qnli,trecqa,convention_2012_party,argus_evidence,entity_matching/dblp_acm_dirty,state_union_speaker

compare() {
    local name=$1
    shift
    .venv/bin/metaft compare --store "$store" --out "$out/$name" --offline "$@" "${options[@]}"
}

keep() {
    .venv/bin/metaft traces export --store "$store" --out "$runs"
}
trap keep EXIT # also where a step was stopped, or has no task complete yet

compare at-128 --tasks "$twenty" --methods plain,best-average,learned --rows 128 --seeds 5
compare at-512 --tasks "$twenty" --methods plain,best-average,learned --rows 512 --seeds 3
compare searches --tasks "$twelve" --methods learned,tpe-10 --rows 128 --seeds 3
