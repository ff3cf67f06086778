@echo off
rem Makes a self-signed certificate and its key with the openssl command (1.1.1 or 3.x), without asking anything.
rem sslcertgen.sh does the same on Unix: whoever changes one changes the other. The line that calls openssl is the
rem same in both but for the way in which variables are written, and a test compares them.

rem Without delayed expansion, so that an exclamation mark in an argument is seen and refused, not dropped.
setlocal EnableExtensions DisableDelayedExpansion

rem Before the first shift, which moves %0 as well: after it, the folder of %0 is that of an argument.
set "CERTS=%~dp0certs"

set "FORCE="
set "FIRST="
set "NAMES="

:arguments
rem Unquoted on purpose: an empty argument in quotes is an argument, no argument is the end.
if [%1]==[] goto arguments_done
if "%~1"=="--help" goto usage
if "%~1"=="--force" (
    set "FORCE=1"
    goto next_argument
)
set "ARG=%~1"
if not defined ARG goto bad_name
if "%ARG:~0,1%"=="-" goto bad_option
call :add_name
if errorlevel 1 goto bad_name
:next_argument
shift
goto arguments

:arguments_done
if defined NAMES goto names_done
set "ARG=localhost"
call :add_name
set "ARG=127.0.0.1"
call :add_name
set "ARG=::1"
call :add_name
:names_done
rem X.509 allows a common name of 64 characters.
if not "%FIRST:~64%"=="" goto long_name

rem Both are looked at before anything is made.
for %%f in (server.key server.crt) do (
    if exist "%CERTS%\%%f\" (
        echo sslcertgen: certs/%%f is a folder>&2
        exit /b 1
    )
    if not defined FORCE if exist "%CERTS%\%%f" (
        echo sslcertgen: certs/%%f already exists; --force overwrites it>&2
        exit /b 1
    )
)

where openssl >nul 2>&1
if errorlevel 1 (
    echo sslcertgen: the openssl command is needed and was not found>&2
    exit /b 1
)

if not exist "%CERTS%\" mkdir "%CERTS%"
if not exist "%CERTS%\" (
    echo sslcertgen: cannot make the folder certs>&2
    exit /b 1
)

rem Everything is made in a folder beside its place, on the same volume: a rename puts it there whole or not at all.
set "WORK=%CERTS%\.sslcertgen.%RANDOM%%RANDOM%"
mkdir "%WORK%"
if errorlevel 1 (
    echo sslcertgen: cannot write to the folder certs>&2
    exit /b 1
)

rem What umask 077 does on Unix: all that is made in the folder is for its owner alone, from the start.
icacls "%WORK%" /inheritance:r /grant:r "%USERNAME%:(OI)(CI)F" >nul 2>&1
if errorlevel 1 echo sslcertgen: warning: others may be able to read certs/server.key>&2

set "CONFIG=%WORK%\openssl.cnf"
set "LOG=%WORK%\openssl.log"
set "NEW_KEY=%WORK%\server.key"
set "NEW_CRT=%WORK%\server.crt"

rem A configuration of our own: the system's would add CA:TRUE, and on Windows there often is none.
rem Without an extensions section some versions of openssl would make a certificate of X.509 version 1.
(
    echo [req]
    echo distinguished_name = name
    echo x509_extensions = extensions
    echo [name]
    echo [extensions]
    echo subjectKeyIdentifier = hash
) >"%CONFIG%"
if errorlevel 1 (
    set "MESSAGE=cannot write to the folder certs"
    goto failed
)

openssl req -x509 -newkey rsa:2048 -sha256 -nodes -days 365 -config "%CONFIG%" -subj "/CN=%FIRST%" -addext "basicConstraints=critical,CA:FALSE" -addext "subjectAltName=%NAMES%" -keyout "%NEW_KEY%" -out "%NEW_CRT%" >"%LOG%" 2>&1
if errorlevel 1 goto openssl_failed
if not exist "%NEW_KEY%" goto openssl_failed
if not exist "%NEW_CRT%" goto openssl_failed

rem Two renames are not one: the old key is kept until the certificate is in place, and put back if that fails.
set "OLD_KEY="
if not exist "%CERTS%\server.key" goto replace
set "OLD_KEY=%WORK%\old.key"
copy /y "%CERTS%\server.key" "%OLD_KEY%" >nul
if errorlevel 1 (
    set "MESSAGE=cannot keep a copy of the old key; nothing was changed"
    goto failed
)
:replace
move /y "%NEW_KEY%" "%CERTS%\server.key" >nul
if errorlevel 1 (
    set "MESSAGE=cannot write certs/server.key; nothing was changed"
    goto failed
)
move /y "%NEW_CRT%" "%CERTS%\server.crt" >nul
if errorlevel 1 (
    if defined OLD_KEY (
        move /y "%OLD_KEY%" "%CERTS%\server.key" >nul
    ) else (
        del /q "%CERTS%\server.key"
    )
    set "MESSAGE=cannot write certs/server.crt; nothing was changed"
    goto failed
)

rmdir /s /q "%WORK%"
echo certs/server.key and certs/server.crt are made for %NAMES%
exit /b 0

:usage
echo usage: sslcertgen [--force] [NAME-OR-ADDRESS ...]
echo(
echo Makes a self-signed certificate for the chat server: certs/server.crt and its key certs/server.key,
echo in the folder of this script. It is good for 365 days and for the host names and IP addresses given,
echo the first of which is also its common name. Default: localhost 127.0.0.1 ::1
echo(
echo   --force   overwrite a certificate or key that is already there
echo   --help    show this help
exit /b 0

rem In the next three the argument stays in quotes, where cmd takes none of its characters for syntax.
:bad_option
echo sslcertgen: unknown option "%~1"; --help shows the usage>&2
exit /b 1

:bad_name
echo sslcertgen: not a host name or IP address: "%~1">&2
exit /b 1

:long_name
echo sslcertgen: the first name is longer than 64 characters: "%FIRST%">&2
exit /b 1

:openssl_failed
type "%LOG%" >&2
set "MESSAGE=openssl failed; nothing was changed"

:failed
rmdir /s /q "%WORK%"
echo sslcertgen: %MESSAGE%>&2
exit /b 1

rem Adds ARG to NAMES as DNS: or IP:, or returns 1. Commas, spaces and the like would be syntax to openssl.
rem A colon makes an IPv6 address, whose grammar openssl itself checks; digits and dots alone make an IPv4 address.
rem for /f with all that is allowed as delimiters finds a word only if there is something else; eol has to be one of
rem the delimiters to be out of the way.
:add_name
for /f "eol=. delims=ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-" %%a in ("%ARG%") do exit /b 1
if not "%ARG::=%"=="%ARG%" goto ipv6
set "OTHER="
for /f "eol=. delims=0123456789." %%a in ("%ARG%") do set "OTHER=1"
if "%ARG:~0,1%"=="." exit /b 1
if "%ARG:~-1%"=="." exit /b 1
if "%ARG:~-1%"=="-" exit /b 1
if not "%ARG:..=%"=="%ARG%" exit /b 1
if not defined OTHER goto ipv4
set "ENTRY=DNS:%ARG%"
goto add_entry

:ipv6
for /f "eol=. delims=0123456789ABCDEFabcdef:." %%a in ("%ARG%") do exit /b 1
set "ENTRY=IP:%ARG%"
goto add_entry

rem Four decimal numbers up to 255. Leading zeros are refused: some programs read them as octal.
:ipv4
set "O1="
set "O2="
set "O3="
set "O4="
set "O5="
for /f "eol=. tokens=1-4* delims=." %%a in ("%ARG%") do (
    set "O1=%%a"
    set "O2=%%b"
    set "O3=%%c"
    set "O4=%%d"
    set "O5=%%e"
)
if defined O5 exit /b 1
if not defined O4 exit /b 1
for %%o in (%O1% %O2% %O3% %O4%) do (
    set "OCTET=%%o"
    call :check_octet
    if errorlevel 1 exit /b 1
)
set "ENTRY=IP:%ARG%"

:add_entry
if defined NAMES (
    set "NAMES=%NAMES%,%ENTRY%"
) else (
    set "FIRST=%ARG%"
    set "NAMES=%ENTRY%"
)
exit /b 0

:check_octet
if not "%OCTET:~3%"=="" exit /b 1
if "%OCTET:~0,1%"=="0" if not "%OCTET%"=="0" exit /b 1
if %OCTET% GTR 255 exit /b 1
exit /b 0
