# bash completion for evenkeel: source <(evenkeel completion bash)
_evenkeel() {
    local line=${COMP_LINE:0:COMP_POINT} words last reply
    read -ra words <<<"$line"
    if [[ $line == *[[:space:]] ]]; then words+=(""); fi
    last=${words[${#words[@]} - 1]}
    mapfile -t reply < <("${words[0]}" complete -- "${words[@]:1}" 2>/dev/null)
    # bash takes = and : for ends of words, and replaces only what follows the last of them.
    if [[ $COMP_WORDBREAKS == *=* && $last == *=* ]]; then reply=("${reply[@]#"${last%=*}"=}"); fi
    COMPREPLY=("${reply[@]}")
    # A number follows, or a name.
    if [[ ${#reply[@]} == 1 && ${reply[0]} == *= ]]; then compopt -o nospace; fi
}
# Where nothing is offered, it is a file.
complete -o bashdefault -o default -F _evenkeel evenkeel
