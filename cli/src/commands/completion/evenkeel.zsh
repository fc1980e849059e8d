#compdef evenkeel
# zsh completion for evenkeel: put it as _evenkeel into a folder of $fpath, or source <(evenkeel completion zsh)
_evenkeel() {
    local -a reply ends
    reply=("${(@f)$("${words[1]}" complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    reply=("${(@)reply:#}")
    # Where nothing is offered, it is a file.
    if (( ! ${#reply} )); then
        _files
        return
    fi
    # A number follows those that end so.
    ends=("${(@M)reply:#*=}")
    reply=("${(@)reply:#*=}")
    (( ${#ends} )) && compadd -S '' -a ends
    (( ${#reply} )) && compadd -a reply
}
if [[ ${funcstack[1]} == _evenkeel ]]; then
    _evenkeel "$@"
else
    compdef _evenkeel evenkeel
fi
