# fish completion for evenkeel: evenkeel completion fish | source
function __evenkeel_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l reply ($words[1] complete -- $words[2..-1] 2>/dev/null)
    # Where nothing is offered, it is a file.
    if test (count $reply) -eq 0
        __fish_complete_path (commandline -ct)
    else
        printf '%s\n' $reply
    end
end
complete -c evenkeel -f -a '(__evenkeel_complete)'
